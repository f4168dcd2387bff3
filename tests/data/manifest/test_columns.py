"""Columns by name, on the lines that the manifest counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmgdm_monai.data.manifest.columns import check_kinds, read_columns
from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.errors import InputError


def test_cells_stand_at_the_lines_of_the_manifest_rows(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").touch()
    path = tmp_path / "m.csv"
    path.write_text('image,patient,age,grade\na.png,"p\n1", 61,"II, b"\n\nb.png,q,,\n', encoding="utf-8-sig")
    cells = read_columns(path, ["grade", "age"])
    rows = read_manifest(path).rows
    assert [cells[row.line] for row in rows] == [{"grade": "II, b", "age": "61"}, {"grade": "", "age": ""}]


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("image,patient\na.png,p\n")
    with pytest.raises(InputError, match="column 'age' missing.* 'image', 'patient'"):
        read_columns(path, ["age"])


def columns(tmp_path: Path, cells: list[str]) -> tuple[Path, dict]:
    path = tmp_path / "m.csv"
    path.write_text("image,patient,age\n" + "".join(f"{n}.png,p{n},{cell}\n" for n, cell in enumerate(cells)))
    return path, dict(read_columns(path, ["age"]))


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "None", "#N/A"])
def test_a_missing_value_makes_no_category(tmp_path: Path, missing: str) -> None:
    path, cells = columns(tmp_path, ["61", missing, "48.5"])
    assert cells[3] == {"age": ""}
    check_kinds(path, cells, ["age"])


def test_a_column_of_numbers_and_words_is_refused_with_its_words(tmp_path: Path) -> None:
    path, cells = columns(tmp_path, ["61", "unknown", "", "48", "~50", "unknown", "inf"])
    with pytest.raises(InputError) as caught:
        check_kinds(path, cells, ["age"])
    wanted = "m.csv: column 'age' holds 2 numbers and also words: 'unknown' (line 3), '~50' (line 6), 'inf' (line 8)"
    assert str(caught.value).startswith(wanted) and "\n" not in str(caught.value)
    check_kinds(*columns(tmp_path, ["II", "III", "unknown", ""]), ["age"])
