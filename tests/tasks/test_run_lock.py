"""A run folder belongs to one process at a time, whatever ends that process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks import run_lock
from hmgdm_monai.tasks.run_lock import LOCK_FILE, hold, let_go

HOLDER = """
import os, sys, time
from pathlib import Path
from hmgdm_monai.tasks.run_lock import hold
lock = hold(Path(sys.argv[1]))
if "fork" in sys.argv:
    # "late": the child still has the file of the lock open for a while, as when it has just been forked.
    kept = os.dup(lock._descriptor) if "late" in sys.argv else None
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"runs")
        if kept is not None:
            time.sleep(0.7)
            os.close(kept)
        time.sleep(60)
    os.read(reading, 4)  # what a new process does after a fork is done
    print(child, flush=True)
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holder(folder: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until a line is written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *how], stdin=PIPE, stdout=PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_process_is_refused_in_one_line_until_the_first_ends(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as process:
        assert line_of(process) == "held"
        with pytest.raises(InputError, match=f"process {process.pid} on {socket.gethostname()} ") as caught:
            hold(tmp_path / "run")
        assert "\n" not in str(caught.value)
        process.communicate("end\n")
    assert not (tmp_path / "run").exists()  # nothing was written into it
    assert hold(tmp_path / "run").release.alive


@pytest.mark.parametrize("how", [["fork"], ["fork", "late"]])
def test_the_lock_of_a_killed_process_is_taken_over_although_its_worker_lives(tmp_path: Path, how: list[str]) -> None:
    with holder(tmp_path, *how) as process:
        child = int(line_of(process))
        assert line_of(process) == "held"
        process.kill()
        process.wait()
        try:
            assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == process.pid
            lock = hold(tmp_path)
        finally:
            os.kill(child, 9)
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_process_holds_its_folder_once_and_until_nothing_refers_to_it(tmp_path: Path) -> None:
    lock = hold(tmp_path / "a" / "b")
    assert hold(tmp_path / "a" / ".." / "a" / "b") is lock
    let_go(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []  # as it was
    lock = hold(tmp_path)
    del lock
    assert list(tmp_path.iterdir()) == []


def test_another_machine_is_believed(tmp_path: Path) -> None:
    there = {"host": "elsewhere", "pid": 1, "boot": "another"}
    (tmp_path / LOCK_FILE).write_text(json.dumps(there))
    with pytest.raises(InputError, match=f"process 1 on elsewhere .*remove {tmp_path / LOCK_FILE}"):
        hold(tmp_path)
    assert json.loads((tmp_path / LOCK_FILE).read_text()) == there


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "renamed"}'])
def test_what_is_left_of_a_file_is_taken_over(tmp_path: Path, content: str) -> None:
    """Killed while it wrote, or in a container of this machine that had another name."""
    if content.startswith('{"'):
        content = json.dumps(run_lock._this_process() | {"host": "renamed", "pid": 1})
    (tmp_path / LOCK_FILE).write_text(content)
    lock = hold(tmp_path)
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    lock.release()


def test_without_locks_of_the_kernel_the_process_id_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock.fcntl, "flock", unsupported)
    with holder(tmp_path) as process:
        assert line_of(process) == "held"
        with pytest.raises(InputError, match=f"process {process.pid} "):
            hold(tmp_path)
        process.kill()
        process.wait()
    hold(tmp_path).release()
