"""Read a user's CSV table: missing values, numbers, and clear errors for files that are not such a table."""

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

# Texts that R, pandas, Python and spreadsheets write for a missing value; the list is the one of pandas.
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
    """A manifest that cannot be used. The message has one line per fault, so that all can be fixed in one pass."""


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        path: path of the file.
        line: line number of the header; the first line of the file is 1.
        header: column names.
        rows: line number and cells of each row that is not blank; a missing value is "".
    """

    path: Path
    line: int
    header: list[str]
    rows: list[tuple[int, list[str]]]


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV: UTF-8, comma separated, with a header.

    Spaces around a cell are removed. NA, NaN, None, #N/A and similar texts (:data:`MISSING`) count as empty, in every
    column.

    Args:
        path: path of the CSV.

    Raises:
        ManifestError: the file does not exist, is not a CSV in UTF-8, or is empty. The message is one line.
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
        raise ManifestError(f"{path}: not a CSV in UTF-8 ({error}); export it as CSV") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise ManifestError(f"{path}: the manifest is empty; give it a header with image, patient and rows")
    line, header = lines[0]
    return Table(path, line, header, [(number, [_filled(cell) for cell in cells]) for number, cells in lines[1:]])


def number_of(text: str) -> float | None:
    """The finite number in a cell, or None. "1_000" and "inf" give None, although Python's float accepts them."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _filled(cell: str) -> str:
    return "" if cell in MISSING else without_mark(cell)


def _decoded(path: Path, data: bytes) -> str:
    """Decode a file as UTF-8.

    Raises:
        ManifestError: the file is not in UTF-8.
    """
    found = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if found is None and data[:1000].count(b"\0") > len(data[:1000]) // 4:
        found = "UTF-16"  # in plain letters every second byte is zero
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
            f"{path} line {line}: not a CSV in UTF-8 but in Latin-1 (Windows-1252) or another encoding, because of "
            f"{shown!r}; {how}"
        ) from error
