"""Checkpoint files: written whole, read without running anything that a pickle may hold."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai.data.whole_file import write_whole
from hmgdm_monai.errors import InputError


def write_checkpoint(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of these to ``path``, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, never running what a pickle may hold.

    Raises:
        InputError: there is no such file, it is damaged, or it holds more than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: is no checkpoint of ours or is damaged ({first[:120]}); remove it to start anew"
        ) from None
