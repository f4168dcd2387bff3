"""A packaged bundle in miniature, with a classifier that nobody trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import recipe_settings

ROOT = Path(__file__).resolve().parents[2]
# Where MONAI Label finds the app's own modules, as `lib`.
sys.path.insert(0, str(ROOT / "scripts" / "monailabel_app"))

CLASSES = ("dark", "light & pale")  # a name that XML must not take as it is
TILE_PX, TILE_MPP = 64, 0.5


@pytest.fixture(scope="session")
def write_bundle(tiny: Any) -> Callable[..., Path]:
    """Function (folder, mode, kind of encoder) that writes a bundle of two classes and gives its folder."""
    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier

    def write(folder: Path, mode: str = "linear", kind: str = "hmgdm") -> Path:
        encoder = tiny.encoder(kind, {**tiny.run, "recipe": recipe_settings(TILE_PX, TILE_MPP)})
        torch.manual_seed(0)
        settings = {
            "linear": {"num_features": 16, "num_classes": 2},
            "knn": {"num_features": 16, "num_classes": 2, "num_examples": 4, "neighbours": 3},
            "finetune": {"num_classes": 2},
        }[mode]
        network = build_classifier(encoder, mode, settings)
        if mode == "linear":
            network.head.set(0.1 * torch.randn(2, 16), torch.zeros(2))
        if mode == "knn":
            # What it remembers is noise in place of tissue, of both classes alike.
            images = torch.randint(0, 256, (4, 3, TILE_PX, TILE_PX))
            with torch.inference_mode():
                embeddings = encoder(images).clone()
            network.head.set(embeddings, torch.tensor([0, 1, 0, 1]), torch.tensor([1.0, 1.0]))
        (folder / "configs").mkdir(parents=True)
        (folder / "models").mkdir()
        channels = {str(number): name for number, name in enumerate(CLASSES)}
        metadata = {"version": "0.0.1", "network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
        (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
        save_classifier(folder / "models" / "classifier.pt", network, mode, settings, CLASSES, ["P1"], 0)
        return folder

    return write
