"""Cells that a spreadsheet would run, and that nothing writes CSV in another way."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hmgdm_monai.data.files.csv_text import csv_text, without_mark

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "cell", ["=1+0", "+1+0", "-cmd|' /C calc'!A0", "@SUM(1)", '=HYPERLINK("x")', "\t=1", "  =1", "-x", "'=1"]
)
def test_a_formula_is_written_as_a_text(cell):
    (row,) = csv.reader(csv_text([[cell, "b"]]).splitlines())
    assert row[0] == f"'{cell}"
    assert without_mark(row[0]) == cell


@pytest.mark.parametrize(
    "cell", ["-0.5", "+3", "-1e-05", "-inf", 5, -0.25, "a=b", "a-b", "", "it's", "'quoted'", "1-2"]
)
def test_numbers_and_other_texts_stay_as_they_are(cell):
    assert csv_text([[cell, "b"]]) == f"{cell},b\n"
    assert without_mark(str(cell)) == str(cell)


def test_nothing_else_writes_csv():
    files = [path for folder in ("hmgdm_monai", "scripts") for path in (ROOT / folder).rglob("*.py")]
    found = [
        path.name for path in files if any(way in path.read_text() for way in ("csv.writer", "DictWriter", ".to_csv("))
    ]
    assert found == ["csv_text.py"]
