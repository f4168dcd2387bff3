"""The bundle's metadata: valid, and of one mind with the package and with constraints.txt."""

from __future__ import annotations

import ast
import json
import re
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import hmgdm_monai

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT.parent / "shared" / "reference" / "meta_schema.json"


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    return json.loads((ROOT / "bundle/configs/metadata.json").read_text())


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def canonical(name: str) -> str:
    """Package name as an index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.skipif(not SCHEMA.is_file(), reason=f"MONAI's metadata schema is not at {SCHEMA}")
def test_follows_the_schema(metadata: dict[str, Any]) -> None:
    jsonschema.validate(metadata, json.loads(SCHEMA.read_text()))


def test_schema_would_reject_a_gap(metadata: dict[str, Any]) -> None:
    if not SCHEMA.is_file():
        pytest.skip(f"MONAI's metadata schema is not at {SCHEMA}")
    without = {key: value for key, value in metadata.items() if key != "network_data_format"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(without, json.loads(SCHEMA.read_text()))


def test_versions_are_those_of_the_constraints(metadata: dict[str, Any], pins: dict[str, str]) -> None:
    named = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
    }
    assert {name: pins.get(canonical(name)) for name in named} == named


def test_version_is_the_package_s_and_in_the_changelogs(metadata: dict[str, Any]) -> None:
    version = metadata["version"]
    assert version == hmgdm_monai.__version__
    assert version in metadata["changelog"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_releases_only(pins: dict[str, str]) -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "file:" not in text and "@" not in text
    assert not [version for version in pins.values() if "+" in version]
    assert "torchvision" not in pins


def test_setup_requires_nothing_that_is_not_pinned(pins: dict[str, str]) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = [
        text
        for part in (setup["options"]["install_requires"], extras["dev"], extras["export"], extras["transformers"])
        for text in part.splitlines()
    ]
    wanted = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    names = [re.split(r"[<>=!~\[]", line)[0] for line in wanted]
    assert names
    assert [name for name in names if canonical(name) not in pins] == []


def test_required_packages_are_those_that_the_package_imports(metadata: dict[str, Any]) -> None:
    """And a few that are found by name only: by MONAI, or as the other half of one that is imported."""
    imported = set()
    for path in (ROOT / "hmgdm_monai").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    distributions = packages_distributions()
    known = {canonical(name) for top in imported - set(sys.stdlib_module_names) for name in distributions.get(top, [])}
    by_name = {"fire", "jsonschema", "einops", "imagecodecs", "openslide-bin"}
    base = {
        "monai",
        "torch",
        "numpy",
        "hmgdm-monai",
        "mlflow-skinny",
        "mlflow-tracing",
        "sqlalchemy",
    }  # from mlflow-skinny on: in mlflow
    base |= {"cucim-cu13", "transformers"}  # other readers stand in for the first, and large backbones are an extra
    named = {canonical(name) for name in metadata["required_packages_version"]}
    assert named == (known - base) | by_name
