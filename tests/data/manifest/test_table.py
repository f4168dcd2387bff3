"""Tables as users send them: each that cannot be read is told in one line that names why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.manifest.table import ManifestError, number_of, read_table

TEXT = "image,patient\na.png,Müller\n"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (TEXT.encode("utf-16"), "not a CSV in UTF-8 but UTF-16"),
        (TEXT.encode("utf-16-le"), "not a CSV in UTF-8 but UTF-16"),
        (TEXT.encode("utf-16-be"), "not a CSV in UTF-8 but UTF-16"),
        (TEXT.encode("utf-32"), "not a CSV in UTF-8 but UTF-32"),
        (
            TEXT.encode("latin-1"),
            "line 2: not a CSV in UTF-8 but in Latin-1 (Windows-1252) or another encoding, because of 'Müller'",
        ),
        (b"PK\x03\x04 a workbook", "but a workbook (XLSX)"),
        (b"", "the manifest is empty"),
        (b"\n \n,,\n", "the manifest is empty"),
        (b"\xef\xbb\xbf", "the manifest is empty"),
        (b'a,b\n"c', "not a CSV in UTF-8"),
        (None, "no such manifest"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(data, wanted, tmp_path):
    path = tmp_path / "table.csv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ManifestError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path)) and wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_are_those_of_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\na,b\n\n"x\ny", 1\nNA,#N/A\n z ,\n')
    table = read_table(path)
    assert (table.line, table.header) == (2, ["a", "b"])
    assert table.rows == [(5, ["x\ny", "1"]), (6, ["", ""]), (7, ["z", ""])]


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), (" -2.5e3", -2500), ("1_000", None), ("inf", None), ("", None), ("1,5", None)]
)
def test_numbers(text, value):
    assert number_of(text) == value


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
formulas = st.builds("{}{}".format, st.sampled_from(["=", "+", "-", "@", "'=", "''-", "'", "'a"]), cells)


@given(st.lists(st.tuples(cells | formulas, formulas), min_size=1, max_size=5))
def test_what_we_write_is_read_as_it_was(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    rows = [(first.strip(), second.strip(), "x") for first, second in rows]
    path.write_bytes(csv_text([("a", "b", "c"), *rows]).encode())
    found = [tuple(cells) for _, cells in read_table(path).rows]
    from hmgdm_monai.data.manifest.table import MISSING

    assert found == [tuple("" if cell in MISSING else cell for cell in row) for row in rows]
