"""docs/settings.md names the settings that train.json has, all of them and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = json.loads((ROOT / "bundle" / "configs" / "train.json").read_text())
DIRL = json.loads((ROOT / "bundle" / "configs" / "dirl.json").read_text())


def documented(section: str, page: str = "settings.md") -> dict[str, str]:
    """Setting -> default, out of the tables under a heading: | `name` | `default` | ..."""
    text = (ROOT / "docs" / page).read_text()
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert body is not None, section
    return dict(re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", body[1], re.M))


def test_every_top_level_scalar_is_documented_and_nothing_else() -> None:
    scalars = {name for name, value in CONFIG.items() if not isinstance(value, dict | list)}
    scalars -= {name for name in scalars if name.startswith("_")}
    # Objects that a one-line expression makes are wiring, not settings.
    scalars -= {"network", "labelled", "run", "entities"}
    assert set(documented("Settings of train.json")) == scalars


def test_what_dirl_adds_is_documented_with_its_defaults() -> None:
    told = documented("Settings of dirl.json", "dirl.md")
    scalars = {name: value for name, value in DIRL.items() if not isinstance(value, dict | list) and name[0] != "_"}
    assert set(told) == set(scalars) - set(CONFIG) - {"loss"}
    for name, default in told.items():
        assert default == (scalars[name] if isinstance(scalars[name], str) else json.dumps(scalars[name])), name


SECTIONS = ("Networks: hmgdm_settings", "Degraded views: degrade_settings")


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_in_groups_are_documented(section: str) -> None:
    assert set(documented(section)) == set(CONFIG[section.split()[-1]])


@pytest.mark.parametrize("section", ["Settings of train.json", *SECTIONS])
def test_the_defaults_told_are_those_of_the_config(section: str) -> None:
    values = CONFIG if section.startswith("Settings") else CONFIG[section.split()[-1]]
    told = {name: default for name, default in documented(section).items() if default != "computed"}
    wrong = {
        name: default
        for name, default in told.items()
        if default != (values[name] if isinstance(values[name], str) else json.dumps(values[name]))
    }
    assert not wrong
    computed = [name for name, default in documented(section).items() if default == "computed"]
    assert all(str(values[name]).startswith(("$", "@")) for name in computed)


PAGES = [ROOT / "README.md", ROOT / "bundle/docs/README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_and_pictures_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
