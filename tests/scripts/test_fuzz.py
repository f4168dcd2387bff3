"""Damaged files are read, or refused in one line; what the fuzz calls a fault is one.

The slow tests read damaged files for a minute with each reader, as python scripts/fuzz.py does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz_parts import trials
from fuzz_parts.mutations import mutate, mutate_json
from fuzz_parts.readers import READERS, Reader

from hmgdm_monai.errors import InputError


def test_the_same_seed_damages_alike_and_others_differ() -> None:
    data = bytes(range(256)) * 4
    assert [mutate(data, seed) for seed in range(50)] == [mutate(data, seed) for seed in range(50)]
    assert len({mutate(data, seed) for seed in range(50)}) > 40
    settings = {"a": [1, 2, {"b": 3}], "c": "x"}
    assert len({repr(mutate_json(settings, seed)) for seed in range(50)}) > 20
    assert settings == {"a": [1, 2, {"b": 3}], "c": "x"}


@pytest.mark.parametrize("name", ["features", "geojson", "cells", "tables", "images"])
def test_a_few_damaged_files_of_each_kind(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    sources = reader.make(tmp_path)
    for source in sources:
        reader.read(source)
    said = [trials.trial(reader, sources, seed) for seed in range(24)]
    assert all(one in (None, "") for one in said), [one for one in said if one]
    assert "" in said


def _refuses(path: Path) -> None:
    raise InputError(f"{path}: damaged")


def _refuses_in_two_lines(path: Path) -> None:
    raise InputError(f"{path}:\ndamaged")


def _raises(path: Path) -> None:
    raise KeyError("a defect")


def _dies(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _takes_all_memory(path: Path) -> None:
    bytearray(trials.FREE_BYTES * 2)


def _never_ends(path: Path) -> None:
    time.sleep(60)


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda path: None, None),
        (_refuses, None),
        (_refuses_in_two_lines, "more than one line"),
        (_raises, "KeyError: 'a defect'"),
        (_dies, f"signal {int(signal.SIGSEGV)}"),
        (_takes_all_memory, "MemoryError"),
        (_never_ends, "took more than"),
    ],
)
def test_every_other_end_is_a_fault(
    read: Callable[[Path], Any], fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path) -> list[Path]:
        (folder / "a.bin").write_bytes(b"sound")
        return [folder / "a.bin"]

    def read_damaged(path: Path) -> None:
        if path.name.startswith("damaged"):
            read(path)

    def damage(source: Path, target: Path, seed: int) -> None:
        target.write_bytes(b"spoilt")

    monkeypatch.setitem(READERS, "toy", Reader(make, read_damaged, damage))
    monkeypatch.setattr(trials, "SECONDS", 1.0)
    found = trials.fuzz("toy", tmp_path, first_seed=7, files=2)
    if fault is None:
        assert (found.read + found.refused, found.faults) == (2, [])
    else:
        assert [(source, seed) for source, seed, _ in found.faults] == [("a.bin", 7), ("a.bin", 8)]
        assert all(fault in said for *_, said in found.faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_minute_of_damaged_files(name: str, tmp_path: Path) -> None:
    found = trials.fuzz(name, tmp_path, seconds=60.0)
    assert not found.kinds()
    assert found.refused > 0
