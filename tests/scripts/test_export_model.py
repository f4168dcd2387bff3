"""scripts/export_model.py: what it says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipes import recipe_settings

from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

VIT = {"vit": {"image_px": 64, "patch_px": 16, "hidden_dim": 16, "num_layers": 1, "heads": 2}, "readout": "mean"}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    encoder = build_tile_encoder("vit", VIT, {"recipe": recipe_settings(64)})
    network = build_classifier(encoder, "finetune", {"num_classes": 2})
    save_classifier(tmp_path / "classifier.pt", network, "finetune", {"num_classes": 2}, ["a", "b"], [], 0)
    return tmp_path / "classifier.pt"


def test_it_exports_and_says_how_far_off(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import export_model

    given = ["--classifier", str(classifier), "--output", str(tmp_path / "out"), "--formats", "ts", "pt2"]
    assert export_model.main(given) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"classifier.ts", "classifier.pt2"}
    printed = capsys.readouterr().out
    assert "inputs: image; classes: a, b" in printed and printed.count("largest difference") == 2


def test_a_tile_of_another_size_is_refused(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import export_model
    from skimage.io import imsave

    imsave(tmp_path / "tile.png", torch.zeros(32, 64, 3, dtype=torch.uint8).numpy(), check_contrast=False)
    assert export_model.main(["--classifier", str(classifier), "--tiles", str(tmp_path / "tile.png")]) == 2
    error = capsys.readouterr().err
    assert "tile.png" in error and "64 x 64 px" in error and error.count("\n") == 1


def test_files_that_differ_are_reported(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import export_model

    monkeypatch.setattr(export_model, "load_exported", lambda path: lambda inputs: torch.full((1, 2), 9.0))
    given = ["--classifier", str(classifier), "--output", str(tmp_path / "out"), "--formats", "ts"]
    assert export_model.main(given) == 1
    assert "do not use these files" in capsys.readouterr().err
