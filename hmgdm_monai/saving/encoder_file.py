"""The pretrained encoder in one file: state dict and settings."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.saving.model_file import build_model, read_model, refused, write_model
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

CONTENT = "encoder"
ADVICE = "give a model.pt of train.json or dirl.json"


def save_encoder(path: Path | str, encoder: TileEncoder) -> None:
    """Write an encoder and its settings to a file, completely or not at all.

    Args:
        path: path of the file.
        encoder: tile encoder of any kind.

    Raises:
        InputError: the disk is full.

    Example:
        >>> from hmgdm_monai import load_encoder, save_encoder
        >>> save_encoder("copy.pt", load_encoder())
        >>> load_encoder("copy.pt").kind
        'hmgdm'
    """
    write_model(path, CONTENT, encoder.state_dict(), encoder.description())


def load_encoder(path: Path | str | None = None) -> TileEncoder:
    """Load an encoder from a file of :func:`save_encoder`, on the CPU, in evaluation mode.

    Args:
        path: path of the file, or a folder in the layout of the Hugging Face hub (see
            :func:`hmgdm_monai.saving.hub.from_pretrained`). None loads the encoder of the bundle.

    Raises:
        InputError: the file is missing, damaged, or of another kind or format.

    Example:
        >>> from hmgdm_monai import load_encoder
        >>> encoder = load_encoder()
        >>> encoder.tile_size_px, encoder.tile_mpp
        (256, 1.0)
    """
    path = bundle_file("models/model.pt") if path is None else path
    if Path(path).is_dir():
        from hmgdm_monai.saving.hub import from_pretrained

        return from_pretrained(path)
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no pretrained model there; run the training first (python -m monai.bundle run training "
            "--config_file bundle/configs/train.json), or give the path of another model"
        )
    description, state = read_model(path, CONTENT, ADVICE)
    with refused(path, ADVICE):
        arguments = description["kind"], description["settings"], description["run_settings"]
    encoder: TileEncoder = build_model(path, lambda: build_tile_encoder(*arguments), state, ADVICE)
    return encoder
