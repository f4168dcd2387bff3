"""A model in miniature that nobody trained."""

from __future__ import annotations

import pytest
import torch

from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.pretrained import load_pretrained, save_pretrained

AUTOENCODER = {"window_px": 16, "widths": [8, 8], "form_channels": 1, "texture_dim": 0, "shortcut": False}
HMGDM = {"latent_dim": 4, "hidden_dim": 16, "num_layers": 2, "heads": 2}
DATA = {
    "tile_size_px": 64,
    "tile_mpp": 0.5,
    "tile_overlap_px": 0,
    "min_tissue": 0.5,
    "stain_method": None,
    "n_segments": 12,
    "compactness": 20.0,
    "merge_threshold": None,
    "window_px": 16,
}
STAGE = {
    "num_timesteps": 100,
    "beta_start": 1e-7,
    "beta_end": 0.02,
    "prediction_type": "sample",
    "noise_intensity": "dynamic",
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Its model.pt."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    settings = {"autoencoder": AUTOENCODER, "hmgdm": HMGDM}
    save_pretrained(path, GraphTileEncoder.build(settings, {"data": DATA, "hmgdm": STAGE}))
    return path


@pytest.fixture
def tiny_pretrained(tiny_model) -> GraphTileEncoder:
    """The model, read from its file."""
    return load_pretrained(tiny_model)
