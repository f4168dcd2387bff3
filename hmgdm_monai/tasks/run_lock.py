"""A lock file, so that only one process at a time works in a run folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from hmgdm_monai.errors import InputError

LOCK_FILE = "run.lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EACCES}
_WAIT_S = 2.0  # how long a child of a dead process may take to close the file that it inherited


class RunLock:
    """The lock of this process on a folder. It ends when it is released or garbage collected.

    The kernel's lock on the file decides. It ends with the process, even if that is killed. The file contains host and
    process id of the holder. If the holder is a dead process of this machine, the lock is taken over. If it is a
    process of another machine, it is not, because the locks of some network file systems hold on one machine only. On
    a file system without locks, the process id decides.

    Args:
        folder: folder of the run. A missing one is made; if it is still empty at the end, it is removed.

    Raises:
        InputError: another process works in the folder.
        OSError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        made = _make(folder)
        try:
            descriptor = _take(folder / LOCK_FILE)
        except BaseException:
            _remove(made)
            raise
        self.release = weakref.finalize(self, _release, folder / LOCK_FILE, descriptor, made, os.getpid())
        self._descriptor = descriptor
        _held[folder.resolve()] = self
        _descriptors.add(descriptor)


_held: weakref.WeakValueDictionary[Path, RunLock] = weakref.WeakValueDictionary()
_descriptors: set[int] = set()


def hold(folder: Path) -> RunLock:
    """Return the lock of a folder, which is taken now unless this process holds it already.

    Args:
        folder: folder of the run.

    Raises:
        InputError: another process works in the folder.
        OSError: the folder cannot be made or written.
    """
    held = _held.get(folder.resolve())
    return held if held is not None and held.release.alive else RunLock(folder)


def let_go(folder: Path | str) -> None:
    """Release the lock of a folder, if this process holds it.

    Args:
        folder: folder of the run.
    """
    with suppress(OSError):  # a path that cannot be resolved was never locked
        if (held := _held.get(Path(folder).resolve())) is not None:
            held.release()


def _take(path: Path) -> int:
    """Lock the file and write this process into it; return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            has_locks = _lock(path, descriptor)
            if os.fstat(descriptor).st_nlink and _is_at(path, descriptor):
                _refuse_living(path, descriptor, has_locks)
                _write(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it in the meantime


def _lock(path: Path, descriptor: int) -> bool:
    """Lock the file; return False if the file system has no locks.

    If the process that the file names is dead, a child that it has just forked may hold the lock for a moment, until it
    closes the file. So the lock is tried again for a short time.
    """
    last = time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD_BY_ANOTHER:
                return False
            holder = _read(descriptor)
            if time.monotonic() > last or not _is_dead(holder):
                raise _in_use(path, holder) from None
            time.sleep(0.05)
        else:
            return True


def _refuse_living(path: Path, descriptor: int, has_locks: bool) -> None:
    """Refuse a file whose process may be alive: on another machine, or on a file system without locks."""
    holder = _read(descriptor)
    if not holder:
        return
    here = _this_process()
    if holder.get("host") != here["host"] and holder.get("boot") != here["boot"]:
        raise _in_use(path, holder)
    if not has_locks and holder.get("boot") == here["boot"] and not _is_dead(holder):
        raise _in_use(path, holder)


def _in_use(path: Path, holder: dict[str, Any]) -> InputError:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    return InputError(
        f"output_dir {path.parent}: {who} is working in it; wait until it ends, or choose another --output_dir "
        f"(if that process has ended, remove {path})"
    )


def _this_process() -> dict[str, Any]:
    # The id of this boot: all containers of a machine share it, but they may have different host names.
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None
    return {"host": socket.gethostname(), "pid": os.getpid(), "boot": boot or socket.gethostname()}


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether a process of this boot has ended."""
    return bool(holder) and holder.get("boot") == _this_process()["boot"] and not _is_alive(holder.get("pid"))


def _is_alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a process of another user
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}  # new, or its process was killed while writing
    return found if isinstance(found, dict) else {}


def _write(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(_this_process()) + "\n").encode(), 0)


def _make(folder: Path) -> list[Path]:
    """Make a folder and its missing parents; return those that were made, innermost first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove(folders: list[Path]) -> None:
    """Remove folders that are empty, innermost first."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return  # it is not empty, so those above are not either


def _release(path: Path, descriptor: int, made: list[Path], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child ends; its parent still holds the lock
    _descriptors.discard(descriptor)
    with suppress(OSError):  # the folder may have been removed in the meantime
        if _is_at(path, descriptor):
            path.unlink()
    os.close(descriptor)
    _remove(made)


def _close_in_child() -> None:
    """A forked worker that outlives a killed run must not keep the folder locked."""
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()


os.register_at_fork(after_in_child=_close_in_child)
