"""Write CSV, with a mark that keeps spreadsheets from running a cell as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

# Spreadsheets run cells that begin like this as formulas; leading apostrophes are our marks, or look like them.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r]")
_MARKED = re.compile(r"'+\s*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Format rows as the text of a CSV file: comma separated, lines end with a line feed.

    A text that a spreadsheet would run as a formula (it begins with =, +, - or @, and is not a number) gets a leading
    apostrophe; :func:`without_mark` removes it.

    Args:
        rows: the header row and the data rows.

    Returns:
        The text of the file.
    """
    return "".join(_line([_marked(cell) if isinstance(cell, str) else cell for cell in row]) for row in rows)


def without_mark(cell: str) -> str:
    """Remove the mark that :func:`csv_text` added to a cell; other cells are returned unchanged."""
    return cell[1:] if _MARKED.match(cell) else cell


def _line(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(row)  # quotes both characters: each alone would end the row
    return text.getvalue().removesuffix("\r\n") + "\n"


def _marked(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
