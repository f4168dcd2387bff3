"""Write files completely or not at all."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from hmgdm_monai.errors import InputError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SUFFIX = ".tmp"
# A younger temporary file may belong to a writer that has created it but not yet locked it.
_SETTLED_S = 5.0


@contextmanager
def whole_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open an HDF5 file for writing; it appears under its name only after the block has ended without an error.

    It is written under a temporary name in the same folder, synced, and moved into place (``os.replace``). If the block
    ends early, by an exception or Ctrl-C, the temporary file is removed; files left by a killed process are removed by
    the next call for this folder. Files of running writers in other processes are kept: each writer holds a lock on its
    temporary file, and the kernel releases the lock when the process ends.

    Args:
        path: path of the final file; its folder is created.

    Yields:
        The file, and a function that raises a disk error that has occurred so far. Call it regularly in a long loop,
        which otherwise sees the error only at its end.

    Raises:
        InputError: the disk is full, or a quota or a limit on file size is reached.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_SUFFIX}")
    raw: _GuardedFile | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _GuardedFile(temporary, "w+b") as raw:
            _lock(raw.fileno())
            with h5py.File(raw, "w") as file:
                yield file, raw.check
            raw.check()
            os.fsync(raw.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # HDF5 may raise because the guard hides failed writes; the disk error is the original cause.
        cause = raw.failure if raw is not None and raw.failure is not None else error
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            raise _disk_full(path, cause) from error
        if cause is not error:
            raise cause from error
        raise


def write_whole(path: Path | str, data: bytes) -> Path:
    """Write ``data`` to ``path``, completely or not at all; the folder is created.

    Args:
        path: file to write.
        data: its content.

    Returns:
        Path of the file.

    Raises:
        InputError: the disk is full, or a quota or a limit on file size is reached.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with open(temporary, "wb") as file:
            _lock(file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise _disk_full(path, error) from error
        raise
    return path


def _disk_full(path: Path, cause: OSError) -> InputError:
    return InputError(
        f"{path.parent}: the disk is full ({os.strerror(cause.errno or 0)}) while writing {path.name}; "
        "free some space or choose another folder, then run again: finished files are kept"
    )


class _GuardedFile(io.FileIO):
    """A file that stores its first write error, discards all later writes, and raises the error on request.

    HDF5 cannot handle a failed write: the file stays open with unwritten data, and the process ends with a segmentation
    fault when HDF5 flushes the data again, at exit at the latest (measured on a full disk with h5py 3.16).
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of ``data``, or store the error; never raises when the disk is full."""
        view = memoryview(data).cast("B")
        done = 0
        while self.failure is None and done < len(view):
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, or store the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise the stored error, if any."""
        if self.failure is not None:
            raise self.failure


def _lock(descriptor: int) -> bool:
    """Try to take the exclusive lock that marks a running writer; False if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Another process holds it, or the file system has no locks; in that case no file is ever removed.
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove temporary files of killed writers."""
    for leftover in folder.glob(f".*{_SUFFIX}"):
        try:
            if time.time() - leftover.stat().st_mtime < _SETTLED_S:
                continue
            with open(leftover, "rb+") as file:
                if _lock(file.fileno()):
                    leftover.unlink()
        except FileNotFoundError:
            continue  # its writer, or another process, removed it first
