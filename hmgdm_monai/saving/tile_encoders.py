"""Build tile encoders without weights, from the settings that were saved with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmgdm_monai.entities.build import build_entities
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.backbone_vit import BackboneViT
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.encoders.tile_vit import TileViT
from hmgdm_monai.networks.encoders.vit_tile_encoder import ViTTileEncoder
from hmgdm_monai.networks.methods.build import build_graph_embedder, build_hmgdm

KINDS = (GraphTileEncoder.kind, ViTTileEncoder.kind)


def build_tile_encoder(kind: str, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> TileEncoder:
    """Build a tile encoder without trained weights.

    Args:
        kind: "hmgdm" (entity graphs) or "vit" (images).
        settings: settings of the networks; see :class:`GraphTileEncoder` and :class:`ViTTileEncoder`.
        run_settings: settings of the run that trained the encoder.

    Raises:
        InputError: the kind is unknown, or a backbone that is not embedded is missing or has another digest.
    """
    if kind == ViTTileEncoder.kind:
        network = settings["vit"]
        vit = BackboneViT(**network, published=False) if "backbone" in network else TileViT(**network)
        return ViTTileEncoder(vit, settings, run_settings)
    if kind == GraphTileEncoder.kind:
        graphs = (
            build_graph_embedder(**settings["graph_embedder"])
            if "graph_embedder" in settings
            else build_hmgdm(**settings["hmgdm"])
        )
        return GraphTileEncoder(build_entities(**settings["entities"]), graphs, settings, run_settings)
    raise InputError(f"there is no encoder of kind {kind!r}; there are {', '.join(KINDS)}")
