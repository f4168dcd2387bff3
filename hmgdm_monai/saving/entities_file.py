"""An entity encoder in one file: kind, settings and weights."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.entities.build import build_entities
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.saving.model_file import build_model, read_model, refused, write_model

CONTENT = "entity encoder"
ADVICE = "give entities.pt of a run of train_entities.json"


def save_entities(path: Path | str, entities: EntityEncoder) -> None:
    """Write kind, settings and weights of an entity encoder to a file, completely or not at all."""
    write_model(path, CONTENT, entities.state_dict(), {"kind": entities.kind, "settings": dict(entities.settings)})


def load_entities(path: Path | str) -> EntityEncoder:
    """Load an entity encoder from a file of :func:`save_entities`, frozen, on the CPU.

    Args:
        path: path of the file.

    Raises:
        InputError: the file is missing, damaged, or of another kind or format.
    """
    description, state = read_model(path, CONTENT, ADVICE)
    with refused(path, ADVICE):
        arguments = description["kind"], description["settings"]
    return build_model(path, lambda: build_entities(*arguments), state, ADVICE).requires_grad_(False)
