"""The figure of highest and lowest tiles, on slides whose tiles differ in brightness alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.saving.patient_file import PatientModel, save_patient_model
from hmgdm_monai.tasks.patients import extremes
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags
from hmgdm_monai.tasks.patients.cross_validation import PatientCrossValidation
from hmgdm_monai.visualize.extremes import draw_extremes


@pytest.fixture
def cross_validation(tmp_path: Path, write_tiff) -> PatientCrossValidation:
    """Three patients of one fold, whose risk of a tile is its brightness; the third has no slide."""
    network = build_aggregator("mean", 1).eval()
    with torch.no_grad():
        network.head.weight.fill_(1.0)
        network.head.bias.zero_()
    loss, target = CoxLoss(), {"kind": "survival"}
    settings = {"aggregator": network.settings, "loss": loss.settings}
    save_patient_model(tmp_path / "fold_0.pt", PatientModel(network, loss, settings, target))
    rows, patients = [], []
    coords = np.array([[0, 0], [64, 0], [0, 64], [64, 64]])
    for number in range(3):
        bright = np.arange(4) * 20.0 + 100 + 5 * number
        pixels = np.kron(bright.reshape(2, 2), np.ones((64, 64)))[..., None].repeat(3, 2).astype(np.uint8)
        image = tmp_path / f"s{number}.tif"
        if number < 2:
            write_tiff(image, [pixels])
        features = tmp_path / f"s{number}.h5"
        write_features(features, bright[:, None], coords, {"tile_size_level0": 64.0, "id": f"s{number}"})
        rows.append(ManifestRow(image, f"p{number}", number + 2, features=(features,)))
        patients.append(Patient(f"p{number}", ((features,),)))
    made = object.__new__(PatientCrossValidation)
    made.data = SimpleNamespace(
        cohort=SimpleNamespace(rows=rows),
        patients=patients,
        bags=PatientBags(patients),
        fold_of=lambda target, fold: fold,
    )
    made.__dict__["folds"] = [SimpleNamespace(test=np.arange(3))]
    made.model_path = lambda target, fold: tmp_path / "fold_0.pt"
    return made


def test_the_brightest_tiles_come_first(cross_validation, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(extremes, "draw_extremes", lambda rows, *rest: drawn.append(rows) or draw_extremes(rows, *rest))
    path = extremes.write_tile_extremes(cross_validation, SimpleNamespace(name="survival"), tmp_path / "e.png")
    assert path is not None and path.stat().st_size > 0
    attention, risk = drawn[0]
    assert (attention.label, risk.label) == ("attention", "risk")
    highest, lowest = risk.groups
    assert [panel.text for panel in highest] == ["p1\n165", "p0\n160"]  # one tile of each patient with a slide
    assert [panel.text for panel in lowest] == ["p0\n100", "p1\n105"]
    assert [int(panel.image.mean()) for panel in highest] == [165, 160]
    assert all(panel.text.endswith("\n1") for group in attention.groups for panel in group)


def test_without_slides_there_is_no_figure(cross_validation, tmp_path):
    for row in cross_validation.data.cohort.rows[:2]:
        row.image.unlink()
    target = SimpleNamespace(name="survival")
    assert extremes.write_tile_extremes(cross_validation, target, tmp_path / "e.png") is None
    assert not (tmp_path / "e.png").exists()
    assert extremes.write_tile_extremes(SimpleNamespace(), target, tmp_path / "e.png") is None
