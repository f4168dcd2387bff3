"""One cell of a column for each patient, out of the rows of the patient's slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hmgdm_monai.data.manifest.manifest import ManifestRow


def patient_cells(
    rows: Sequence[ManifestRow], cells: Mapping[int, Mapping[str, str]], column: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the cell of each patient, and why some patients have none.

    Empty cells are filled from the patient's other rows.

    Args:
        rows: rows of the manifest.
        cells: cells by line, from :func:`~hmgdm_monai.data.manifest.columns.read_columns`.
        column: name of the column.

    Returns:
        Cell by patient; and for each patient without a cell, or with several, one line that says so.
    """
    said: dict[str, dict[str, int]] = {}
    for row in rows:
        theirs = said.setdefault(row.patient, {})
        if text := cells[row.line][column]:
            theirs.setdefault(text, row.line)
    found: dict[str, str] = {}
    faults: dict[str, str] = {}
    for patient, texts in said.items():
        if len(texts) == 1:
            found[patient] = next(iter(texts))
        elif not texts:
            faults[patient] = f"has no {column}"
        else:
            shown = ", ".join(f"{text[:40]} (line {line})" for text, line in texts.items())
            faults[patient] = f"has more than one {column}: {shown}"
    return found, faults
