"""Files that come to be whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import h5py

from hmgdm_monai.errors import InputError

File = TypeVar("File", bound=IO[bytes] | io.FileIO)

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What temporary_path gives; SQLite keeps a journal beside a database.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp(-journal)?")


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
        InputError: the disk is full, a quota or a limit on file size is reached, or the file system refuses the file.
    """
    temporary = temporary_path(path)
    raw: _GuardedFile | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _locked(lambda: _GuardedFile(temporary, "w+b")) as raw:
            with h5py.File(raw, "w") as file:
                yield file, raw.check
            raw.check()
            os.fsync(raw.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # it was never made; what went wrong before is what counts
            temporary.unlink()
        # HDF5 may complain about what the guard kept from it; what the disk refused came first.
        cause = raw.failure if raw is not None and raw.failure is not None else error
        if (refused := _refused(path, temporary, cause)) is not None:
            raise refused from error
        if cause is not error:
            raise cause from error
        raise


def write_whole(path: Path | str, data: bytes) -> Path:
    """Write ``data`` to ``path``, whole or not at all; the folder is made.

    Raises:
        InputError: the disk is full, a quota or a limit on file size is reached, or the file system refuses the file.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _locked(lambda: open(temporary, "wb")) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # it was never made; what went wrong before is what counts
            temporary.unlink()
        if (refused := _refused(path, temporary, error)) is not None:
            raise refused from error
        raise
    return path


def temporary_path(path: Path) -> Path:
    """A name in the same folder, of a file that is to be moved to ``path`` once it is whole."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a file bears a name of :func:`temporary_path`."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep_all(folder: Path) -> None:
    """Remove what killed writers left in a folder and in the folders within it."""
    for inner, _, names in os.walk(folder):
        if any(is_temporary(Path(name)) for name in names):
            _sweep(Path(inner))


def _refused(path: Path, temporary: Path, cause: BaseException) -> InputError | None:
    """The one line for what the file system refused; None for an error that has other reasons."""
    if not isinstance(cause, OSError):
        return None
    reason = os.strerror(cause.errno or 0)
    if cause.errno in _DISK_FULL:
        return InputError(
            f"{path.parent}: the disk is full ({reason}) while writing {path.name}; "
            "make room or choose another folder, then run again: what is finished is kept"
        )
    # What the caller does between opening and closing may fail on files of its own.
    names = {str(one) for one in (path, temporary, *path.parents)}
    if cause.filename is None or str(cause.filename) not in names:
        return None
    return InputError(f"{path}: cannot be written ({reason}); see to that, or choose another folder, then run again")


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


def _locked(make: Callable[[], File]) -> File:
    """A new temporary file with the lock that marks a living writer.

    Between making and locking it a sweep may have removed it; then it is made again.
    """
    while True:
        file = make()
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # a sweep holds it for an instant
        except OSError:
            return file  # a file system without locks: there nothing is ever swept
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _sweep(folder: Path) -> None:
    """Remove the temporary files of writers that were killed: those that nobody holds a lock on."""
    for leftover in filter(is_temporary, folder.iterdir()):
        try:
            with open(leftover, "rb+") as file:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
        except OSError:
            continue  # its writer lives, or another sweep was quicker; a file system without locks keeps it
