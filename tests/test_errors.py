"""Programs end on bad input with one line; what is a defect keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from hmgdm_monai.errors import InputError, input_error_in, one_line_errors


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
    assert said(KeyboardInterrupt(), capsys) == "interrupted; the same command goes on from here\n"


def test_defects_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(ZeroDivisionError("a defect"), capsys)
    assert text.startswith("Traceback") and "ZeroDivisionError: a defect" in text
    assert input_error_in(ValueError("not ours")) is None
