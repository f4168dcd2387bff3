"""Read damaged files in child processes with limits: each is read, or refused in one line; all else is a fault."""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import resource
import signal
import struct
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_parts.readers import READERS, Reader

FREE_BYTES = 3 * 2**30  # memory that a child may take beyond what it has at its start
SECONDS = 30.0  # the longest that one file may take
_LONGEST_LINE = 3000  # characters of an error


@dataclass
class Counts:
    """What came of the files of one reader.

    Attributes:
        read: number of files that were read although they were changed.
        refused: number of files that were refused in one line.
        faults: file, seed, and what went wrong, of all others.
    """

    read: int = 0
    refused: int = 0
    faults: list[tuple[str, int, str]] = field(default_factory=list)

    def kinds(self) -> dict[str, list[str]]:
        """Return the faults without repetition: what went wrong -> file and seed of each."""
        found: dict[str, list[str]] = {}
        for source, seed, said in self.faults:
            found.setdefault(said, []).append(f"{source} seed {seed}")
        return found


def fuzz(name: str, folder: Path, first_seed: int = 0, files: int | None = None, seconds: float = 60.0) -> Counts:
    """Read damaged files with one reader.

    Args:
        name: name of the reader.
        folder: folder for the files; the last damaged one is left there.
        first_seed: seed of the first file; file n has the seed ``first_seed + n``.
        files: number of files; None reads for ``seconds``.
        seconds: time to spend.
    """
    reader = READERS[name]
    (folder / name).mkdir(parents=True, exist_ok=True)
    sources = reader.make(folder / name)
    for source in sources:
        reader.read(source)  # sound files are read
    counts, end = Counts(), time.monotonic() + seconds
    seed, last = first_seed, None if files is None else first_seed + files
    while (last is None and time.monotonic() < end) or (last is not None and seed < last):
        seed = _child(reader, sources, seed, last, end, counts)
    return counts


def _child(reader: Reader, sources: list[Path], seed: int, last: int | None, end: float, counts: Counts) -> int:
    """Let a child read files until it ends; return the seed to go on with."""
    shared = mmap.mmap(-1, 32)  # seed, time of its start, read, refused
    shared[:32] = struct.pack("=qdqq", seed, time.monotonic(), 0, 0)
    notes, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(notes)
        _read_many(reader, sources, seed, last, end, shared, into)
        os._exit(0)
    os.close(into)
    late = False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        _, began, _, _ = struct.unpack("=qdqq", shared[:32])
        if time.monotonic() - began > SECONDS and not late:
            late = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    with os.fdopen(notes) as told:
        said = told.read()
    reached, _, read, refused = struct.unpack("=qdqq", shared[:32])
    counts.read += read
    counts.refused += refused
    if status == 0:
        return reached
    source = sources[reached % len(sources)].name
    if late:
        said = f"took more than {SECONDS:g} s"
    elif os.WIFSIGNALED(status):
        said = f"the process died of signal {os.WTERMSIG(status)}"
    counts.faults.append((source, reached, said))
    return reached + 1


def _read_many(
    reader: Reader, sources: list[Path], seed: int, last: int | None, end: float, shared: mmap.mmap, into: int
) -> None:
    """Read one file after the other; exit with status 1 at the first fault."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + FREE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # ends with its parent
    read = refused = 0
    while (last is None and time.monotonic() < end) or (last is not None and seed < last):
        shared[:32] = struct.pack("=qdqq", seed, time.monotonic(), read, refused)
        said = trial(reader, sources, seed)
        if said is None:
            read += 1
        elif said == "":
            refused += 1
        else:
            shared[:32] = struct.pack("=qdqq", seed, time.monotonic(), read, refused)
            os.write(into, said.encode()[:60_000])
            os._exit(1)
        seed += 1
    shared[:32] = struct.pack("=qdqq", seed, time.monotonic(), read, refused)


def trial(reader: Reader, sources: list[Path], seed: int) -> str | None:
    """Damage a file and read it.

    Args:
        reader: the reader.
        sources: its sound files; the seed chooses one.
        seed: seed of the damage.

    Returns:
        None if it was read, "" if it was refused in one line, otherwise what went wrong.
    """
    from hmgdm_monai.data.manifest.table import ManifestError
    from hmgdm_monai.errors import InputError

    source = sources[seed % len(sources)]
    damaged = source.with_name(f"damaged_{source.name}")
    reader.damage(source, damaged, seed)
    try:
        reader.read(damaged)
    except ManifestError:
        return ""  # it has a line for each fault
    except InputError as error:
        text = str(error)
        return (
            "" if "\n" not in text and len(text) < _LONGEST_LINE else f"more than one line, or too long: {text[:500]!r}"
        )
    except Exception:
        return traceback.format_exc()
    return None
