"""Entity encoders from what was saved of them, and as files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmgdm_monai.data.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.declared_size import check_declared_size

FORMAT = 1


def build_entities(kind: str, settings: Mapping[str, Any]) -> EntityEncoder:
    """An entity encoder without weights, for those of a checkpoint.

    Args:
        kind: "backbone", "window_autoencoder" or "graphs".
        settings: arguments of its class.

    Raises:
        InputError: no such kind, or a backbone that is not embedded and cannot be had.
    """
    if kind == BackboneEntities.kind:
        return BackboneEntities(**settings, published=False)
    if kind == WindowAutoencoder.kind:
        return WindowAutoencoder(**settings)
    if kind == GivenEntities.kind:
        return GivenEntities(**settings)
    raise InputError(f"there are no entities of kind {kind!r}; there are backbone, window_autoencoder and graphs")


def save_entities(path: Path | str, entities: EntityEncoder) -> None:
    """Write an entity encoder, whole or not at all: kind, settings and weights."""
    content = {"format": FORMAT, "kind": entities.kind, "settings": dict(entities.settings)}
    write_checkpoint(path, {**content, "weights": dict(entities.state_dict())})


def load_entities(path: Path | str) -> EntityEncoder:
    """An entity encoder from a file of :func:`save_entities`, frozen, on the CPU.

    Raises:
        InputError: no such file, or one of another kind.
    """
    saved = read_checkpoint(path)
    if not isinstance(saved, dict) or saved.get("format") != FORMAT or "weights" not in saved:
        raise InputError(f"{path}: holds no entity encoder; give entities.pt of a run of train_entities.json")
    try:
        check_declared_size(lambda: build_entities(saved["kind"], saved["settings"]), saved["weights"])
        entities = build_entities(saved["kind"], saved["settings"])
        entities.load_state_dict(saved["weights"])
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())[:120]}); train it again") from error
    return entities.requires_grad_(False).eval()
