"""Exported classifiers on real tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipes import recipe_settings
from skimage.io import imread

from hmgdm_monai.data.entity_graph import entity_latents
from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.methods.build import build_hmgdm
from hmgdm_monai.saving.classifier_file import build_classifier, load_classifier
from hmgdm_monai.saving.export import FORMATS, export, exportable, load_exported
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

SHIPPED = Path(__file__).parents[2] / "bundle/models/classifier.pt"

RUN = {"recipe": recipe_settings(256, 1.0, 50)}
HMGDM = {"hidden_dim": 32, "num_layers": 3, "readout": ["mean", "std"]}
VIT = {"vit": {"image_px": 256, "patch_px": 32, "hidden_dim": 32, "num_layers": 2}, "readout": "mean"}


def untrained(kind: str, tiles: list[torch.Tensor]) -> TileClassifier:
    """A network that nobody trained; that of graphs on entities of the published backbone."""
    torch.manual_seed(0)
    if kind == "vit":
        encoder = build_tile_encoder(kind, VIT, RUN).eval()
    else:
        entities = BackboneEntities({"name": "efficientnet_lite0", "blocks": [4, 7], "resize_px": 384})
        settings = {**HMGDM, "latent_dim": entities.latent_dim}
        encoder = GraphTileEncoder(entities, build_hmgdm(**settings), {"hmgdm": settings}, RUN).eval()
        with torch.no_grad():
            latents = [entity_latents(encoder.prepare(encoder.to_sample(tile))) for tile in tiles]
        encoder.hmgdm.standardizer.fit(torch.cat(latents))
    return build_classifier(encoder, "finetune", {"num_classes": 3}).eval()


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("hmgdm", "the one that ships")]


@pytest.mark.parametrize("kind", ["vit", *SLOW])
def test_files_do_as_pytorch_does_within_1e_4(kind: str, real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra: export")
    paths = sorted((real_data / "prostate_gleason/labelled").glob("*/*.jpeg"))[::120]
    tiles = [torch.from_numpy(imread(path).transpose(2, 0, 1).copy()) for path in paths]
    # A trained one, too: gates that training has nearly closed are where an export may lose its digits.
    network = load_classifier(SHIPPED).network if kind == "the one that ships" else untrained(kind, tiles)
    made = exportable(network)
    with torch.no_grad():
        expected = [network(tile[None].float()) for tile in tiles]
    for ending in FORMATS:
        export(made, tiles[0], tmp_path / f"classifier.{ending}")
        loaded = load_exported(tmp_path / f"classifier.{ending}")
        for tile, scores in zip(tiles, expected, strict=True):
            assert torch.allclose(loaded(made.inputs(tile)), scores, atol=1e-4), ending
