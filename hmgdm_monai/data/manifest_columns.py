"""Columns of a manifest that it does not know itself, read by name: site, age, grade."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hmgdm_monai.errors import InputError


def read_columns(path: Path | str, columns: Sequence[str]) -> Mapping[int, dict[str, str]]:
    """Cells of some columns, as text, by the line of the CSV that `ManifestRow.line` names; "" where empty.

    Args:
        path: a manifest that :func:`hmgdm_monai.data.manifest.read_manifest` has accepted.
        columns: names in its header.

    Raises:
        InputError: a column that is not there.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    lines = {number: cells for number, cells in rows if any(cells)}
    first = min(lines)
    header = lines.pop(first)
    if missing := [name for name in columns if name not in header]:
        raise InputError(
            f"{path} line {first}: column {', '.join(map(repr, missing))} missing; those there are "
            f"{', '.join(map(repr, header))}"
        )
    places = {name: header.index(name) for name in columns}
    return {
        number: {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        for number, cells in lines.items()
    }
