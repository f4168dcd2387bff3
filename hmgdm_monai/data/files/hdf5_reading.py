"""Read HDF5 files of other programs safely: no links, no allocation beyond the file's content, one-line errors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hmgdm_monai.errors import InputError

# Bound on the content of a file: arrays usually compress by two or three times, and small files may compress more.
FREE_BYTES = 64 * 2**20
MOST_SHRUNK = 100


@contextmanager
def opened_hdf5(path: str | os.PathLike[str], what: str, advice: str) -> Iterator[h5py.File]:
    """Open a file for reading and convert HDF5's errors to one line.

    Args:
        path: path of the file.
        what: what the file should be, for example "features file".
        advice: what to do if it is damaged.

    Raises:
        InputError: the file does not exist or is not HDF5, or the block failed to read something.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such {what}; check the path")
    try:
        # Without locks, as the stores open their files: HDF5 refuses to open a file in two ways at once.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError, ValueError, ... for damage
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: not an HDF5 file, or damaged ({reason}); {advice}") from error


def checked_dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """A dataset stored in the file itself; None if there is no dataset of that name.

    Args:
        file: open file.
        name: name of the dataset.

    Raises:
        InputError: it is a link, or its values are stored in other files.
    """
    link = file.get(name, getlink=True)
    if link is None:
        return None
    path = file.filename
    if not isinstance(link, h5py.HardLink):
        raise InputError(
            f"{path}: {name} is a link to {_target(link)}, and links are not followed; copy the data there"
        )
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        return None
    if found.external or found.is_virtual:
        raise InputError(
            f"{path}: the values of {name} lie in other files, which are not read; copy them into this one"
        )
    return found


def read_numbers(found: h5py.Dataset, name: str) -> np.ndarray:
    """Read all values of a dataset.

    Args:
        found: the dataset.
        name: its name in messages.

    Raises:
        InputError: the values are not numbers, some were never written, or more are declared than the file can hold.
    """
    path = found.file.filename
    if found.dtype.kind not in "biuf":
        raise InputError(f"{path}: {name} are not numbers but {_kind(found.dtype)}; write numbers")
    check_declared(found, name)
    return np.asarray(found[()])


def check_declared(found: h5py.Dataset, name: str) -> None:
    """Raise if a dataset declares more data than its file can hold, or more than was written.

    Args:
        found: the dataset.
        name: its name in messages.

    Raises:
        InputError: as above.
    """
    path = found.file.filename
    size = os.path.getsize(path)
    shape, limit = found.shape or (), FREE_BYTES + MOST_SHRUNK * size
    declared = math.prod(shape) * found.dtype.itemsize
    chunk = 0 if found.chunks is None else math.prod(found.chunks) * found.dtype.itemsize
    if max(declared, chunk) > limit:
        raise InputError(
            f"{path}: {name} declare {_format_bytes(max(declared, chunk))} in a file of {_format_bytes(size)}, "
            f"and at most {_format_bytes(limit)} are read from a file of this size; write it again"
        )
    if 0 in shape or found.shape is None:
        return
    if found.chunks is None:
        whole = found.id.get_storage_size() >= declared
    else:
        wanted = math.prod(math.ceil(side / step) for side, step in zip(shape, found.chunks, strict=True))
        whole = found.id.get_num_chunks() >= wanted
    if not whole:
        raise InputError(f"{path}: {name} were not written completely; write them again")


def read_attributes(source: h5py.File | h5py.Dataset) -> dict[str, Any]:
    """The attributes as plain Python values: numbers, texts of a fixed length, and lists of these.

    Texts of variable length, which h5py writes by default, are left out. HDF5 stores them in a heap, and where that is
    damaged it may search in it forever (measured with h5py 3.16). :func:`write_attributes` writes others.

    Args:
        source: open file, or a dataset of it.
    """
    names = (name for name in source.attrs if source.attrs.get_id(name).dtype.kind != "O")
    return {name: _plain(source.attrs[name]) for name in names}


def write_attributes(target: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Write attributes that :func:`read_attributes` reads: texts get a fixed length, in UTF-8.

    Args:
        target: file, open for writing.
        attributes: numbers and texts by name.
    """
    for name, value in attributes.items():
        target.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value


def _target(link: Any) -> str:
    return f"{link.path} of {link.filename}" if isinstance(link, h5py.ExternalLink) else str(getattr(link, "path", "?"))


def _kind(dtype: np.dtype) -> str:
    if h5py.check_string_dtype(dtype) is not None or dtype.kind in "SU":
        return "text"
    return {"V": "opaque or compound values", "O": "lists or references", "c": "complex numbers"}.get(
        dtype.kind, str(dtype)
    )


def _format_bytes(count: int) -> str:
    """Format a number of bytes with three digits."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
