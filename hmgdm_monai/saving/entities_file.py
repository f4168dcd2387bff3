"""An entity encoder in one file: kind, settings and weights."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.entities.build import build_entities
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.declared_size import check_declared_size

FORMAT = 1


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
