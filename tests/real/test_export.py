"""Exported classifiers on real tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from skimage.io import imread

from hmgdm_monai.networks.classifier_file import build_classifier, load_classifier
from hmgdm_monai.networks.export import FORMATS, export, exportable, load_exported
from hmgdm_monai.networks.pretrained import build_tile_encoder
from hmgdm_monai.networks.tile_classifier import TileClassifier

SHIPPED = Path(__file__).parents[2] / "bundle/models/classifier.pt"

DATA = {"tile_size_px": 256, "stain_method": None, "n_segments": 50, "compactness": 20.0, "merge_threshold": None}
AUTOENCODER = {"widths": [8, 16], "form_channels": 2, "texture_dim": 8, "num_filters": 16}
SETTINGS = {
    "hmgdm": {"autoencoder": AUTOENCODER, "hmgdm": {"latent_dim": 40, "hidden_dim": 32, "num_layers": 3}},
    "vit": {"vit": {"image_px": 256, "patch_px": 32, "hidden_dim": 32, "num_layers": 2}, "readout": "mean"},
}


def untrained(kind: str, tiles: list[torch.Tensor]) -> TileClassifier:
    torch.manual_seed(0)
    encoder = build_tile_encoder(kind, SETTINGS[kind], {"data": DATA}).eval()
    if kind == "hmgdm":
        windows = torch.cat([encoder.to_sample(tile).vertex_windows for tile in tiles])
        encoder.autoencoder.fit(windows.float() / 255)
    return build_classifier(encoder, "finetune", {"num_classes": 3}).eval()


@pytest.mark.parametrize("kind", ["hmgdm", "vit", "the one that ships"])
def test_files_do_as_pytorch_does_within_1e_4(kind: str, real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra: export")
    paths = sorted((real_data / "prostate_gleason/labelled").glob("*/*.jpeg"))[::120]
    tiles = [torch.from_numpy(imread(path).transpose(2, 0, 1).copy()) for path in paths]
    # A trained one, too: gates that training has nearly closed are where an export may lose its digits.
    network = untrained(kind, tiles) if kind in SETTINGS else load_classifier(SHIPPED).network
    made = exportable(network)
    with torch.no_grad():
        expected = [network(tile[None].float()) for tile in tiles]
    for ending in FORMATS:
        export(made, tiles[0], tmp_path / f"classifier.{ending}")
        loaded = load_exported(tmp_path / f"classifier.{ending}")
        for tile, scores in zip(tiles, expected, strict=True):
            assert torch.allclose(loaded(made.inputs(tile)), scores, atol=1e-4), ending
