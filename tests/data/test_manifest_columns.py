"""Columns by name, on the lines that the manifest counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmgdm_monai.data.manifest import read_manifest
from hmgdm_monai.data.manifest_columns import read_columns
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
    with pytest.raises(InputError, match="column 'age' missing; those there are 'image', 'patient'"):
        read_columns(path, ["age"])
