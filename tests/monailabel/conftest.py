"""A packaged bundle in miniature, with a classifier that nobody trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
# Where MONAI Label finds the app's own modules, as `lib`.
sys.path.insert(0, str(ROOT / "scripts" / "monailabel_app"))

CLASSES = ("dark", "light & pale")  # a name that XML must not take as it is
TILE_PX, TILE_MPP = 64, 0.5


@pytest.fixture(scope="session")
def write_bundle() -> Callable[..., Path]:
    """Function (folder, mode, kind of encoder) that writes a bundle of two classes and gives its folder."""
    from hmgdm_monai.networks.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.networks.pretrained import build_tile_encoder

    def write(folder: Path, mode: str = "linear", kind: str = "hmgdm") -> Path:
        torch.manual_seed(0)
        networks = {
            "hmgdm": {
                "autoencoder": {
                    "window_px": 16,
                    "widths": [8, 8],
                    "form_channels": 1,
                    "texture_dim": 0,
                    "shortcut": False,
                },
                "hmgdm": {"latent_dim": 4, "hidden_dim": 16, "num_layers": 2, "heads": 2},
            },
            "vit": {
                "vit": {"image_px": TILE_PX, "patch_px": 16, "hidden_dim": 16, "num_layers": 1, "heads": 2},
                "readout": "mean",
            },
        }
        data = {
            "tile_size_px": TILE_PX,
            "tile_mpp": TILE_MPP,
            "tile_overlap_px": 0,
            "min_tissue": 0.5,
            "stain_method": None,
            "n_segments": 12,
            "compactness": 20.0,
            "merge_threshold": None,
        }
        encoder = build_tile_encoder(kind, networks[kind], {"data": data}).eval()
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
