"""The tables of settings are up to date, and every setting is described."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import make_settings_page
import pytest
from monai.bundle import ConfigParser

from hmgdm_monai.tasks.configs.components import target_of
from hmgdm_monai.tasks.configs.settings.registry import WORKFLOWS, part_settings, workflow_settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundle" / "configs"
OVERRIDES = {
    "survival.json": ["evaluate_patients.json", "patient_classes.json", "regress.json"],
    "train.json": [
        *("dirl.json", "multi_gpu.json", "paper.json", "train_entities.json"),
        *(path.relative_to(CONFIGS).as_posix() for path in sorted((CONFIGS / "baselines").glob("*.json"))),
    ],
}
WIRING = {
    "network",
    "labeled",
    "run",
    "entities",
    "encoder",
    "fold",
    "fold_key",
    "fold_seed",
    "loaded",
    "network_def",
    "target",
    "values",
    "targets",
}


def content(name: str) -> dict[str, Any]:
    return json.loads((CONFIGS / name).read_text())


def workflows() -> dict[str, dict[str, Any]]:
    """Config -> its top-level items and those that its overrides add."""
    firsts = [path.name for path in CONFIGS.glob("*.json") if any(name in content(path.name) for name in WORKFLOWS)]
    firsts = [name for name in firsts if "run" in content(name)]
    found = {}
    for first in firsts:
        found[first] = content(first)
        for name in OVERRIDES.get(first, []):
            found[first] = content(name) | found[first]
    return found


@pytest.mark.parametrize("page", make_settings_page.PAGES, ids=lambda page: page.name)
def test_the_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text()
    assert make_settings_page.with_tables(text) == text, "run scripts/make_settings_page.py"


@pytest.mark.parametrize("first", workflows())
def test_every_top_level_setting_is_described_and_nothing_else(first: str) -> None:
    items = workflows()[first]
    described = set(workflow_settings(items).model_fields)
    there = {
        name
        for name, value in items.items()
        if not name.startswith(("_", "+")) and "::" not in name and not isinstance(value, dict) and name not in WIRING
    } - {"imports", "initialize", "finalize", *WORKFLOWS, "handlers"}
    there |= {name for name in ("backbone", "device") if name in items}
    assert described & set(items) == there
    assert described <= set(items), "described, and in no config"


def test_every_workflow_has_a_table() -> None:
    text = "".join(page.read_text() for page in make_settings_page.PAGES)
    for first in workflows():
        assert f"<!-- settings: {first} -->" in text


@pytest.mark.parametrize("first", workflows())
def test_a_description_is_a_sentence(first: str) -> None:
    for name, field in workflow_settings(workflows()[first]).model_fields.items():
        assert field.description and re.search(r"[.)]$", field.description), name


def test_described_arguments_are_arguments() -> None:
    parser = ConfigParser({})
    from hmgdm_monai.tasks.configs.components import parameters_of
    from hmgdm_monai.tasks.configs.settings.registry import _parts

    for target, part in _parts().items():
        assert part_settings(target) is part
        if not target.endswith("."):
            callable_ = target_of(parser, {"_target_": target})
            assert callable_ is not None, target
            names = set(parameters_of(parser, callable_, {}) or ())
            shared = len(part.targets) > 1
            assert set(part.model_fields) & names if shared else set(part.model_fields) <= names, target


PAGES = [ROOT / "README.md", ROOT / "bundle/docs/README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_and_pictures_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
