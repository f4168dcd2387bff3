"""Reads a CSV table of a user: which text is a missing value, what is a number, and what is no such table."""

from __future__ import annotations

import codecs
import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from hmgdm_monai.data.files.csv_text import without_mark
from hmgdm_monai.errors import InputError

# What R, pandas, Python and spreadsheets write where there is no value; the list is that of pandas.
MISSING = frozenset(
    "|NA|N/A|n/a|NaN|nan|-NaN|-nan|None|NULL|Null|null|#N/A|#N/A N/A|#NA|<NA>|1.#IND|-1.#IND|1.#QNAN|-1.#QNAN".split(
        "|"
    )
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    (b"PK\x03\x04", "a workbook (XLSX) or another archive"),
)


class ManifestError(InputError):
    """A manifest that cannot be used. Its message has one line for each fault, so that all are mended in one go."""


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        path: of the file.
        line: of the header, the first line of the file being 1.
        header: names of the columns.
        rows: line and cells of each row that is not blank; a missing value is "".
    """

    path: Path
    line: int
    header: list[str]
    rows: list[tuple[int, list[str]]]


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV: UTF-8, comma separated, with a header.

    Blanks around a cell are dropped, and NA, NaN, None, #N/A and the like (:data:`MISSING`) are empty cells, in every
    column.

    Raises:
        ManifestError: no such file, not a CSV, another encoding, or nothing in it. One line.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise ManifestError(f"{path}: no such manifest; give the path of a CSV with columns image, patient")
    try:
        text = _decoded(path, path.read_bytes())
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror}); check access to it") from error
    except csv.Error as error:
        raise ManifestError(f"{path}: not a CSV in UTF-8 ({error}); export it as one") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise ManifestError(f"{path}: the manifest is empty; give it a header with image, patient and rows")
    line, header = lines[0]
    return Table(path, line, header, [(number, [_filled(cell) for cell in cells]) for number, cells in lines[1:]])


def number_of(text: str) -> float | None:
    """The finite number that a cell holds, or None: "1_000" and "inf" are none, though Python would take them."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _filled(cell: str) -> str:
    return "" if cell in MISSING else without_mark(cell)


def _decoded(path: Path, data: bytes) -> str:
    """Text of a file.

    Raises:
        ManifestError: it is not in UTF-8.
    """
    found = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if found is None and data[:1000].count(b"\0") > len(data[:1000]) // 4:
        found = "UTF-16"  # every second byte of plain letters
    how = "save it as CSV UTF-8 (comma separated)"
    if found is not None:
        raise ManifestError(f"{path}: not a CSV in UTF-8 but {found}; {how}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        start = max(data.rfind(sign, 0, error.start) for sign in (b",", b"\n", b'"')) + 1
        shown = data[start : error.start + 20].splitlines()[0].split(b",")[0].decode("latin-1")
        raise ManifestError(
            f"{path} line {line}: not a CSV in UTF-8 but in Latin-1 (Windows-1252) or another encoding, by "
            f"{shown!r}; {how}"
        ) from error
