"""Files that come to be whole or not at all."""

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
# A temporary file this young may belong to a writer that has made it but not locked it yet.
_SETTLED_S = 5.0


@contextmanager
def whole_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """An HDF5 file open for writing, which stands under its name only once the block has ended well.

    It is written under a temporary name in the same folder and moved into place (``os.replace``) after a sync. Whatever
    ends the block early, an exception or Ctrl-C, removes it; what a killed process left is removed by the next call for
    this folder. Writers in other processes are left alone: each holds a lock on its temporary file, and the kernel
    drops the lock of a process that dies.

    Args:
        path: where the file is to stand; its folder is made.

    Yields:
        The file, and a function that raises what the disk has refused so far: to be called now and then in a long loop,
        which otherwise hears of it at its end only.

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
        # HDF5 may complain about what the guard kept from it; what the disk refused came first.
        cause = raw.failure if raw is not None and raw.failure is not None else error
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            raise _disk_full(path, cause) from error
        if cause is not error:
            raise cause from error
        raise


def write_whole(path: Path | str, data: bytes) -> Path:
    """Write ``data`` to ``path``, whole or not at all; the folder is made.

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
        "make room or choose another folder, then run again: what is finished is kept"
    )


class _GuardedFile(io.FileIO):
    """A file that keeps its first failed write to itself, swallows the writes after it, and tells when asked.

    HDF5 cannot take a failed write: the file stays open with unwritten data in it, and the process dies of a
    segmentation fault when HDF5 flushes that again, at exit at the latest (measured on a full disk with h5py 3.16).
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of ``data``, or note the failure; never raises for want of room."""
        view = memoryview(data).cast("B")
        done = 0
        while self.failure is None and done < len(view):
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, or note the failure."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise the failure that was kept, if any."""
        if self.failure is not None:
            raise self.failure


def _lock(descriptor: int) -> bool:
    """Try to take the exclusive lock that marks a living writer; False where another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Held by another process, or a file system without locks: there nothing is ever swept.
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove the temporary files of writers that were killed."""
    for leftover in folder.glob(f".*{_SUFFIX}"):
        try:
            if time.time() - leftover.stat().st_mtime < _SETTLED_S:
                continue
            with open(leftover, "rb+") as file:
                if _lock(file.fileno()):
                    leftover.unlink()
        except FileNotFoundError:
            continue  # its writer, or another sweep, was quicker
