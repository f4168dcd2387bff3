"""Programs end on bad input with one line; what is a defect keeps its traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from subprocess import PIPE

import pytest

from hmgdm_monai.errors import InputError, Terminated, input_error_in, one_line_errors


@pytest.fixture(autouse=True)
def _hook() -> Iterator[None]:
    before = sys.excepthook
    one_line_errors()
    yield
    sys.excepthook = before


def said(error: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    try:
        raise error
    except BaseException as caught:
        sys.excepthook(type(caught), caught, caught.__traceback__)
    return capsys.readouterr().err


def test_input_errors_are_one_line_however_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(InputError("cohort.csv: no rows"), capsys) == "error: cohort.csv: no rows\n"
    wrapped = RuntimeError("Failed to evaluate ...")
    wrapped.__cause__ = InputError("cohort.csv: no rows")
    assert said(wrapped, capsys) == "error: cohort.csv: no rows\n"


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    how = "what is finished is kept; the same command goes on from here\n"
    assert said(KeyboardInterrupt(), capsys) == f"interrupted; {how}"
    assert said(Terminated(), capsys) == f"terminated; {how}"


def test_defects_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(ZeroDivisionError("a defect"), capsys)
    assert text.startswith("Traceback") and "ZeroDivisionError: a defect" in text
    assert input_error_in(ValueError("not ours")) is None


def test_a_switch_shows_the_traceback_of_input_errors_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMGDM_TRACEBACK", "1")
    text = said(InputError("cohort.csv: no rows"), capsys)
    assert text.startswith("Traceback") and "cohort.csv: no rows" in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_what_the_file_system_refuses_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    wrapped = RuntimeError("Failed to evaluate ...")
    wrapped.__cause__ = OSError(number, os.strerror(number), "runs/mine/model.pt")
    line = said(wrapped, capsys)
    assert line.startswith(f"error: runs/mine/model.pt: {os.strerror(number)}; ") and line.count("\n") == 1


def test_other_errors_of_files_and_those_that_were_dealt_with_are_defects() -> None:
    assert input_error_in(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    defect = ZeroDivisionError()
    defect.__context__ = PermissionError(errno.EACCES, "Permission denied", "x")
    assert input_error_in(defect) is None


PROGRAM = """
import os, sys, time
from hmgdm_monai.errors import end_on_sigterm, one_line_errors
one_line_errors()
end_on_sigterm()
child = os.fork()
try:
    if not child:
        print(os.getpid(), flush=True)  # from here on: Python drops a signal that comes while it forks
    time.sleep(60)
finally:
    print("cleaned", os.getpid(), flush=True)
"""


def test_sigterm_cleans_up_and_says_how_to_go_on_and_ends_children_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        os.kill(int(process.stdout.readline()), signal.SIGTERM)
        process.terminate()
        assert process.stdout.read() == f"cleaned {process.pid}\n"  # the child has not
        line = process.stderr.read()
    assert line == "terminated; what is finished is kept; the same command goes on from here\n"
    assert process.returncode != 0


RANK = """
import sys, time
from hmgdm_monai.errors import end_together_on_sigterm
end_together_on_sigterm(sys.argv[1] == "first")
print("ready", flush=True)
try:
    time.sleep(60)
finally:
    print("cleaned", flush=True)
"""


@pytest.mark.parametrize("which", ["first", "other"])
def test_processes_that_train_together_end_at_once_and_the_first_says_how_to_go_on(which: str) -> None:
    with subprocess.Popen([sys.executable, "-c", RANK, which], stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == ""
        line = process.stderr.read()
    assert line == ("terminated; what is finished is kept; the same command goes on from here\n" * (which == "first"))
    assert process.returncode == -signal.SIGTERM
