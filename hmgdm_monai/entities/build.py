"""Build entity encoders from saved settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
from hmgdm_monai.errors import InputError


def build_entities(kind: str, settings: Mapping[str, Any]) -> EntityEncoder:
    """Build an entity encoder without weights, which are then loaded from a checkpoint.

    Args:
        kind: "backbone", "window_autoencoder" or "graphs".
        settings: constructor arguments of its class.

    Raises:
        InputError: the kind does not exist, or a backbone that is not embedded is not available.
    """
    if kind == BackboneEntities.kind:
        return BackboneEntities(**settings, published=False)
    if kind == WindowAutoencoder.kind:
        return WindowAutoencoder(**settings)
    if kind == GivenEntities.kind:
        return GivenEntities(**settings)
    raise InputError(f"there are no entities of kind {kind!r}; there are backbone, window_autoencoder and graphs")
