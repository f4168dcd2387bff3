"""CSV that we write, and the mark that keeps a spreadsheet from running a cell of it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

# A spreadsheet takes what begins so for a formula; of what begins with apostrophes they are ours or look like it.
_FORMULA = re.compile(r"'*\s*[=+\-@\t\r]")
_MARKED = re.compile(r"'+\s*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as the text of a CSV file: comma separated, lines ended by a line feed.

    A text that a spreadsheet would run as a formula (it begins with =, +, - or @, and is no number) gets an apostrophe
    in front; :func:`without_mark` takes it away again.

    Args:
        rows: the header, and what is under it.
    """
    return "".join(_line([_marked(cell) if isinstance(cell, str) else cell for cell in row]) for row in rows)


def without_mark(cell: str) -> str:
    """A cell as it was before :func:`csv_text` marked it; any other as it is."""
    return cell[1:] if _MARKED.match(cell) else cell


def _line(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(row)  # quotes both: either alone would end the row
    return text.getvalue().removesuffix("\r\n") + "\n"


def _marked(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
