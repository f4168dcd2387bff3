"""Checkpoint files: written completely or not at all, read without running code that a pickle may hold."""

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

# Exceptions that zipfile and torch.load raise for a file with changed bytes.
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
MOST_SHARED = 10  # tensors may share memory, but their total size may exceed the file only by this factor


def write_checkpoint(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of these to ``path``, completely or not at all.

    Args:
        path: file to write.
        content: name -> value.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint to the CPU without running code that a pickle may hold.

    No more memory is allocated than the file has bytes: its records are not compressed, as ``torch.save`` writes them.

    Args:
        path: path of the checkpoint.

    Raises:
        InputError: the file does not exist, is damaged, holds other objects than tensors and plain values, or declares
            more data than it holds.
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
            f"{path}: is no checkpoint of ours or is damaged ({first[:120]}); remove it to start again"
        ) from None


def load_tensors(path: Path | str, classes: Sequence[type] = ()) -> Any:
    """Load a file of ``torch.save`` to the CPU without running code that a pickle may hold.

    Args:
        path: path of the file.
        classes: classes that are allowed besides tensors and plain values; they need a method ``to_dict`` that returns
            their content.

    Raises:
        ValueError: the file declares more data than it holds.
        Exception: other errors of ``zipfile`` and ``torch.load``; ``pickle.UnpicklingError`` for other classes.
    """
    size = _check_records(path)
    with torch.serialization.safe_globals(list(classes)):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if (claimed := _bytes_of_tensors(content)) > MOST_SHARED * size:
        raise ValueError(f"its tensors declare {claimed} bytes, the file has {size}")
    return content


def _check_records(path: Path | str) -> int:
    """Check that the records take no more memory than the file has bytes, and return its size.

    Raises:
        ValueError: they take more memory.
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
    """Total bytes of all nested tensors if each were copied: a view may be far larger than its storage."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if hasattr(content, "to_dict"):
        content = content.to_dict()
    if isinstance(content, Mapping):
        return sum(map(_bytes_of_tensors, content.values()))
    return sum(map(_bytes_of_tensors, content)) if isinstance(content, list | tuple | set) else 0
