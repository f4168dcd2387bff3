"""The pretrained encoder in one file: its state dict, with what it is built from."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.model_file import build_model, read_model, refused, write_model
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

CONTENT = "encoder"
ADVICE = "give a model.pt of train.json or dirl.json"


def save_pretrained(path: Path | str, encoder: TileEncoder) -> None:
    """Write weights and settings, whole or not at all."""
    write_model(path, CONTENT, encoder.state_dict(), encoder.description())


def load_pretrained(path: Path | str) -> TileEncoder:
    """Build an encoder from a file of :func:`save_pretrained`, on the CPU, in evaluation mode.

    Args:
        path: of the file; or a folder in the layout of the hub, see :func:`hmgdm_monai.saving.hub.from_pretrained`.

    Raises:
        InputError: no such file, a damaged one, or one of another kind or format.
    """
    if Path(path).is_dir():
        from hmgdm_monai.saving.hub import from_pretrained

        return from_pretrained(path)
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no pretrained model there; run the training first (python -m monai.bundle run training "
            "--config_file bundle/configs/train.json), or give the path of another"
        )
    told, state = read_model(path, CONTENT, ADVICE)
    with refused(path, ADVICE):
        arguments = told["kind"], told["settings"], told["run_settings"]
    return build_model(path, lambda: build_tile_encoder(*arguments), state, ADVICE)
