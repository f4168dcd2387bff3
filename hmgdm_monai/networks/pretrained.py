"""The pretrained model in one file: entity autoencoder and H-MGDM with the settings they were built from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hmgdm_monai.data.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.build import build_hmgdm
from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder
from hmgdm_monai.networks.hmgdm import HMGDM

FORMAT = 1


class Pretrained(NamedTuple):
    """Both networks in evaluation mode, and the settings of the run that made them (tile size and mpp among them)."""

    autoencoder: EntityAutoencoder
    hmgdm: HMGDM
    run_settings: dict[str, Any]


def save_pretrained(
    path: Path | str,
    autoencoder: EntityAutoencoder,
    autoencoder_settings: Mapping[str, Any],
    hmgdm: HMGDM,
    hmgdm_settings: Mapping[str, Any],
    run_settings: Mapping[str, Any],
) -> None:
    """Write weights and settings, whole or not at all; settings are the constructors' arguments, as JSON knows them."""
    write_checkpoint(
        path,
        {
            "format": FORMAT,
            "autoencoder": {"settings": dict(autoencoder_settings), "weights": dict(autoencoder.state_dict())},
            "hmgdm": {"settings": dict(hmgdm_settings), "weights": dict(hmgdm.state_dict())},
            "run_settings": dict(run_settings),
        },
    )


def load_pretrained(path: Path | str) -> Pretrained:
    """Build both networks from a file of :func:`save_pretrained`, on the CPU, ready for :meth:`HMGDM.embed`.

    Raises:
        InputError: no such file, a damaged one, or one of another kind or format.
    """
    if not Path(path).exists():
        raise InputError(
            f"{path}: no such pretrained model; make one with bundle/configs/train.json, or give the path of another"
        )
    saved = read_checkpoint(path)
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        found = saved.get("format") if isinstance(saved, dict) else None
        raise InputError(f"{path}: is no pretrained model of format {FORMAT} (found {found}); give a run's model.pt")
    autoencoder = EntityAutoencoder(**saved["autoencoder"]["settings"])
    autoencoder.load_state_dict(saved["autoencoder"]["weights"])
    hmgdm = build_hmgdm(**saved["hmgdm"]["settings"])
    hmgdm.load_state_dict(saved["hmgdm"]["weights"])
    return Pretrained(autoencoder.eval(), hmgdm.eval(), saved["run_settings"])
