"""Read any manifest columns by name, for example site, age or grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hmgdm_monai.data.manifest.table import number_of, read_table
from hmgdm_monai.errors import InputError

_SHOWN = 5  # maximum number of words in a message


def read_columns(path: Path | str, columns: Sequence[str]) -> Mapping[int, dict[str, str]]:
    """Read some columns as text, keyed by line number of the CSV (`ManifestRow.line`); "" for a missing cell.

    Args:
        path: a manifest that :func:`hmgdm_monai.data.manifest.manifest.read_manifest` accepts.
        columns: column names in its header.

    Raises:
        InputError: a column does not exist, or the table cannot be read.
    """
    table = read_table(path)
    if missing := [name for name in columns if name not in table.header]:
        raise InputError(
            f"{path} line {table.line}: column {', '.join(map(repr, missing))} missing; existing columns are "
            f"{', '.join(map(repr, table.header))}"
        )
    places = {name: table.header.index(name) for name in columns}
    return {
        number: {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        for number, cells in table.rows
    }


def check_kinds(path: Path | str, cells: Mapping[int, Mapping[str, str]], columns: Sequence[str]) -> None:
    """Raise if a column mixes numbers and words, so that a mistyped number does not turn it into categories.

    Args:
        path: path of the manifest, for the message.
        cells: output of :func:`read_columns`.
        columns: names of the columns to check.

    Raises:
        InputError: a column mixes numbers and words. The message is one line.
    """
    for name in columns:
        filled = {line: row[name] for line, row in cells.items() if row[name]}
        words = {line: text for line, text in filled.items() if number_of(text) is None}
        if not words or len(words) == len(filled):
            continue
        first = {text: line for line, text in reversed(words.items())}
        shown = [f"{text[:40]!r} (line {line})" for text, line in sorted(first.items(), key=lambda item: item[1])]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise InputError(
            f"{Path(path).name}: column {name!r} holds {len(filled) - len(words)} numbers and also words: "
            f"{', '.join(shown[:_SHOWN])}{more}; leave a cell empty where the value is missing, or, if they are "
            "categories, do not write any of them as a plain number"
        )
