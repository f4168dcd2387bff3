"""The unit test of the bundle, as the Model Zoo keeps one for each: every workflow checked and run, from the package.

The Zoo runs it with the bundle's folder in BUNDLE_ROOT; here the bundle is packaged around models that nobody trained.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from hmgdm_monai.saving.entities_file import save_entities

INFER = {"device": "cpu"}
DATA = {"max_epochs": 1, "tile_size_px": 64, "n_segments": 12, "batch_size": 4, "device": "cpu"}
NETWORK = {"network_def::hidden_dim": 16, "network_def::num_layers": 1}
TRAIN = {**DATA, **NETWORK, "backbone": {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None}}
WINDOWS = {"network_def::window_px": 8, "network_def::widths": [8], "network_def::latent_channels": 1}
ENTITIES = {**DATA, **WINDOWS, "train::iteration::windows_per_tile": 8}
CASES = {
    "train": ("train", ("train.json",), TRAIN),
    "entities": ("train", ("train.json", "train_entities.json"), ENTITIES),
    "paper": ("train", ("train.json", "paper.json"), {**DATA, **NETWORK}),
    "classify": (
        "train",
        ("classify.json",),
        {"mode": "linear", "n_folds": 2, "methods::linear::strengths": [1.0], "device": "cpu"},
    ),
    "inference": ("infer", ("inference.json",), {**INFER, "patient_model": None}),
    "evaluate": ("infer", ("evaluate.json",), INFER),
}


def check_workflow(workflow: ConfigWorkflow, check_properties: bool = False) -> None:
    """The Zoo's own helper, but for properties that are missing, which fail here."""
    workflow.initialize()
    if check_properties:
        assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()


@pytest.fixture(autouse=True)
def _one_thread_and_path_restored() -> Any:
    threads, path = torch.get_num_threads(), list(sys.path)
    torch.set_num_threads(1)
    yield
    sys.path[:] = path  # where a packaged config puts its bundle first
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CASES)
def test_workflow(
    name: str,
    packaged: Callable[..., Path],
    small_slides: Path,
    tiny: Any,
    mlflow_tables: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    kind, files, overrides = CASES[name]
    mlflow_tables(tmp_path / "out")
    bundle = Path(os.environ.get("BUNDLE_ROOT") or packaged())
    given = {"bundle_root": str(bundle), "manifest": str(small_slides), "output_dir": str(tmp_path / "out")}
    if name == "paper":
        save_entities(tmp_path / "entities.pt", tiny.entities("window_autoencoder"))
        overrides = {**overrides, "entities_file": str(tmp_path / "entities.pt")}
    workflow = ConfigWorkflow(
        workflow_type=kind,
        config_file=[str(bundle / "configs" / file) for file in files],
        logging_file=str(bundle / "configs/logging.conf"),
        meta_file=str(bundle / "configs/metadata.json"),
        **{**given, **overrides},
    )
    # A cross-validation trains a network for each fold, and so has no one trainer as MONAI's properties ask for.
    check_workflow(workflow, check_properties=name != "classify")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {"train": "model.pt", "entities": "entities.pt", "paper": "model.pt", "inference": "summary.json"}
    assert expected.get(name, "metrics.json") in left
