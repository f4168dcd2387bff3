"""The pretrained encoder in one file: weights with the settings that they were built from."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.saving.declared_size import check_declared_size
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

FORMAT = 3


def save_encoder(path: Path | str, encoder: TileEncoder) -> None:
    """Write an encoder with its settings, whole or not at all.

    Args:
        path: of the file.
        encoder: of any kind.

    Raises:
        InputError: the disk is full.

    Example:
        >>> from hmgdm_monai import load_encoder, save_encoder
        >>> save_encoder("copy.pt", load_encoder())
        >>> load_encoder("copy.pt").kind
        'hmgdm'
    """
    write_checkpoint(
        path,
        {
            "format": FORMAT,
            "kind": encoder.kind,
            "settings": encoder.settings,
            "weights": dict(encoder.state_dict()),
            "run_settings": encoder.run_settings,
        },
    )


def load_encoder(path: Path | str | None = None) -> TileEncoder:
    """Build an encoder from a file of :func:`save_encoder`, on the CPU, in evaluation mode.

    Args:
        path: of the file; or a folder in the layout of the hub, see :func:`hmgdm_monai.saving.hub.from_pretrained`.
            None is the encoder that the bundle ships.

    Raises:
        InputError: no such file, a damaged one, or one of another kind or format.

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
            "--config_file bundle/configs/train.json), or give the path of another"
        )
    saved = read_checkpoint(path)
    found = saved.get("format") if isinstance(saved, dict) else None
    if found in (1, 2):
        raise InputError(
            f"{path}: is a model of version 0.1, whose entities are no longer there; pretrain again, or take the model "
            "that the bundle ships"
        )
    if found != FORMAT:
        raise InputError(f"{path}: is no pretrained model of format {FORMAT} (found {found}); give a run's model.pt")
    try:
        arguments = saved["kind"], saved["settings"], saved["run_settings"]
        check_declared_size(lambda: build_tile_encoder(*arguments), saved["weights"])
        encoder = build_tile_encoder(*arguments)
        encoder.load_state_dict(saved["weights"])
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: is damaged, or a model of another version ({reason}); give a model.pt of train.json or dirl.json"
        ) from error
    return encoder.eval()
