"""docs/settings.md and docs/dirl.md name the settings that there are, with their defaults."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from monai.bundle import ConfigParser

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundle" / "configs"
CONFIG = json.loads((CONFIGS / "train.json").read_text())
DIRL = json.loads((CONFIGS / "dirl.json").read_text())


def merged(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in names])
    return parser


PARSERS = {"settings.md": merged("train.json"), "dirl.md": merged("train.json", "dirl.json")}


def documented(section: str, page: str = "settings.md") -> dict[str, str]:
    """Setting -> default, out of the tables under a heading: | `name` | `default` | ..."""
    text = (ROOT / "docs" / page).read_text()
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert body is not None, section
    return dict(re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", body[1], re.M))


def parts_of(page: str) -> list[str]:
    """Headings that are paths of parts."""
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs" / page).read_text(), re.M)
    return [heading for heading in headings if heading in PARSERS[page]]


def as_told(value: Any) -> str:
    if isinstance(value, str):
        return "computed" if value.startswith(("$", "@")) else value
    return json.dumps(value)


def scalars(config: dict[str, Any]) -> set[str]:
    # Objects that a one-line expression makes are wiring, not settings.
    wiring = {"network", "labeled", "run", "entities"}
    return {n for n, v in config.items() if not isinstance(v, dict | list) and n[0] != "_" and "::" not in n} - wiring


def test_every_top_level_setting_is_documented_and_nothing_else() -> None:
    told = documented("Settings of train.json")
    assert set(told) == scalars(CONFIG)
    assert told == {name: as_told(CONFIG[name]) for name in told}


def test_what_dirl_adds_is_documented_with_its_defaults() -> None:
    told = documented("Settings of dirl.json", "dirl.md")
    assert set(told) == {name for name in scalars(DIRL) - set(CONFIG) if DIRL[name] is not None}
    assert told == {name: as_told(DIRL[name]) for name in told}


PARTS = [(page, part) for page in PARSERS for part in parts_of(page)]


def test_the_parts_that_shape_a_training_are_documented() -> None:
    theirs = {"recipe::tile_spec", "cutter", "data", "data::degrade", "backbone_entities", "noising", "network_def"}
    theirs |= {"noising::scheduler", "loss", "optimizer", "lr_scheduler", "train::iteration"}
    theirs |= {"recipe::mask", "quality_limits"}
    assert set(parts_of("settings.md")) == theirs
    assert {"prior", "views", "network_def", "network_def::vit", "loss::image_loss"} <= set(parts_of("dirl.md"))


@pytest.mark.parametrize(("page", "part"), PARTS)
def test_arguments_are_documented_with_their_defaults(page: str, part: str) -> None:
    """Those that the config gives a value, and others that its target takes."""
    given, told = PARSERS[page][part], documented(part, page)
    target = locate(given["_target_"])
    taken = {name: one.default for name, one in inspect.signature(target).parameters.items()}
    values = {
        name: value
        for name, value in given.items()
        if name[0] != "_" and not isinstance(value, dict) and as_told(value) != "computed"
    }
    assert set(values) <= set(told) <= set(taken)
    for name, default in told.items():
        value = given.get(name, taken[name])
        assert default == as_told(list(value) if isinstance(value, tuple) else value), name


PAGES = [ROOT / "README.md", ROOT / "bundle/docs/README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_and_pictures_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
