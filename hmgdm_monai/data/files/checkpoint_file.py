"""Checkpoint files: written whole, read without running anything that a pickle may hold."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError

# What zipfile and torch.load raise for a file in which a byte has changed.
DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
MOST_SHARED = 10  # tensors may share their numbers, but not all of them so often


def write_checkpoint(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of these to ``path``, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, never running what a pickle may hold.

    What is allocated is no more than the file holds: its records are stored as they are, as ``torch.save`` writes them.

    Raises:
        InputError: there is no such file, it is damaged, it holds more than tensors and plain values, or it declares
            more than it holds.
    """
    try:
        return load_tensors(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except DAMAGED as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: is no checkpoint of ours or is damaged ({first[:120]}); remove it to start anew"
        ) from None


def load_tensors(path: Path | str, classes: Sequence[type] = ()) -> Any:
    """What ``torch.save`` has written, on the CPU, never running what a pickle may hold.

    Args:
        path: of the file.
        classes: may stand in it beside tensors and plain values; with a method ``to_dict`` that gives their content.

    Raises:
        ValueError: it declares more than it holds.
        Exception: whatever else ``zipfile`` and ``torch.load`` raise; ``pickle.UnpicklingError`` for other classes.
    """
    size = _check_records(path)
    with torch.serialization.safe_globals(list(classes)):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if (claimed := _bytes_of_tensors(content)) > MOST_SHARED * size:
        raise ValueError(f"its tensors declare {claimed} bytes, the file has {size}")
    return content


def _check_records(path: Path | str) -> int:
    """Size of the file, whose records take no more memory than it has bytes.

    Raises:
        ValueError: they would take more.
    """
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    packed = [record for record in records if record.compress_type != zipfile.ZIP_STORED]
    if packed:
        largest = max(packed, key=lambda record: record.file_size)
        raise ValueError(f"{largest.filename} declares {largest.file_size} bytes in {largest.compress_size}")
    if (declared := sum(record.file_size for record in records)) > size:
        raise ValueError(f"its records declare {declared} bytes, the file has {size}")
    return size


def _bytes_of_tensors(content: Any) -> int:
    """Of all tensors, however deep, were each copied: views may be far larger than what they look at."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if hasattr(content, "to_dict"):
        content = content.to_dict()
    if isinstance(content, Mapping):
        return sum(map(_bytes_of_tensors, content.values()))
    return sum(map(_bytes_of_tensors, content)) if isinstance(content, list | tuple | set) else 0
