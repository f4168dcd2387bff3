"""Write a manifest for features that CLAM, TRIDENT or STAMP extracted, with the outcomes of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.data.manifest.make_manifest import (
    SUFFIXES,
    folder_of,
    is_hidden,
    matched_patient,
    patient_pattern,
    relative_path,
)
from hmgdm_monai.data.manifest.table import Table, read_table
from hmgdm_monai.errors import InputError

_OWN = ("image", "patient", "slide", "features")  # columns of the manifest that are not copied from the table


def make_features_manifest(
    features: Sequence[Path | str],
    output: Path | str,
    table: Path | str | None = None,
    slide_column: str = "slide",
    patient_column: str = "patient",
    patient: str | None = None,
) -> tuple[int, list[str]]:
    """Write a manifest with a row for each slide that has features of every encoder.

    A slide is matched to the table by its name where the table has the column of slides, and by its patient otherwise.

    Args:
        features: folder of each encoder's features: of CLAM (with ``h5_files`` or ``pt_files``), of TRIDENT
            (``<magnification>x_.../features_<encoder>``), of STAMP, or any folder of ``<slide>.h5`` or ``<slide>.pt``.
        output: CSV file to write; paths in it are relative to its folder.
        table: CSV of outcomes; all its columns are copied. None writes no outcomes.
        slide_column: column of the table with the names of slides, with or without suffix.
        patient_column: column of the table with the patients.
        patient: regular expression that finds the patient in a slide's name, or "tcga"; see
            :func:`~hmgdm_monai.data.manifest.make_manifest.make_manifest`. Without a column of patients and without a
            pattern, each slide is a patient of its own.

    Returns:
        Number of rows written, and one line for each slide or row of the table that was left out.

    Raises:
        InputError: a folder or the table cannot be used, or no slide is in all of them.
    """
    output = Path(output)
    files = [_files(folder_of(folder, "features")) for folder in features]
    if not files:
        raise InputError("no folder of features is given; name one for each encoder")
    pattern = None if patient is None else patient_pattern(patient)
    outcomes = None if table is None else _Outcomes(read_table(table), slide_column, patient_column)
    rows: list[list[str]] = []
    notes: list[str] = []
    for slide in sorted(set().union(*files)):
        if missing := [str(folder) for folder, found in zip(features, files, strict=True) if slide not in found]:
            notes.append(f"{slide}: left out, it has no features in {', '.join(missing)}")
            continue
        match = None if pattern is None else pattern.search(slide)
        if pattern is not None and match is None:
            notes.append(f"{slide}: left out, its name does not match {pattern.pattern!r}")
            continue
        name = slide if match is None else matched_patient(match)
        cells: list[str] = []
        if outcomes is not None:
            found_row = outcomes.find(slide, name)
            if found_row is None:
                notes.append(f"{slide}: left out, {table} has no row for it")
                continue
            name, cells = outcomes.patient(found_row) or name, outcomes.copied(found_row)
        paths = ";".join(relative_path(found[slide], output) for found in files)
        rows.append([name, slide, paths, *cells])
    if outcomes is not None:
        notes += [f"{table} line {line}: left out, there are no features for it" for line in outcomes.unused()]
    if not rows:
        first = f"; the first: {notes[0]}" if notes else ""
        raise InputError(f"{features[0]}: no slide can be listed{first}")
    header = ["patient", "slide", "features", *([] if outcomes is None else outcomes.columns)]
    write_whole(output, csv_text([header, *rows]).encode())
    return len(rows), notes


class _Outcomes:
    """The rows of a table of outcomes, by slide or by patient."""

    def __init__(self, table: Table, slide_column: str, patient_column: str) -> None:
        self.table = table
        self._slide = table.header.index(slide_column) if slide_column in table.header else None
        self._patient = table.header.index(patient_column) if patient_column in table.header else None
        key = self._patient if self._slide is None else self._slide
        if key is None:
            raise InputError(
                f"{table.path}: has neither column {slide_column!r} nor {patient_column!r}; existing columns are "
                f"{', '.join(map(repr, table.header))}"
            )
        self._rows: dict[str, tuple[int, list[str]]] = {}
        for line, cells in table.rows:
            name = _stem(cells[key]) if key == self._slide else cells[key]
            if name in self._rows:
                raise InputError(f"{table.path} line {line}: {name!r} was already named in line {self._rows[name][0]}")
            self._rows[name] = (line, cells)
        self._used: set[str] = set()
        own = {self._slide, self._patient}
        self._copied = [n for n, name in enumerate(table.header) if n not in own and name and name not in _OWN]
        self.columns = [table.header[place] for place in self._copied]

    def find(self, slide: str, patient: str) -> list[str] | None:
        """Return the cells of a slide; None if the table does not have it."""
        name = patient if self._slide is None else slide
        if name not in self._rows:
            return None
        self._used.add(name)
        return self._rows[name][1]

    def patient(self, cells: Sequence[str]) -> str:
        """Return the patient of a row; "" if the table has none."""
        return "" if self._patient is None else cells[self._patient]

    def copied(self, cells: Sequence[str]) -> list[str]:
        """Return the cells of ``columns``."""
        return [cells[place] if place < len(cells) else "" for place in self._copied]

    def unused(self) -> list[int]:
        """Return the lines that no slide was found for."""
        return [line for name, (line, _) in self._rows.items() if name not in self._used]


def _files(folder: Path) -> dict[str, Path]:
    """Return the features file of each slide, by its name."""
    places = [folder / name for name in ("h5_files", "pt_files") if (folder / name).is_dir()][:1]
    if not places:
        places = sorted(one for one in folder.rglob("features_*") if one.is_dir() and not is_hidden(one, folder))
        if len(places) > 1:
            shown = ", ".join(str(place) for place in places)
            raise InputError(f"{folder}: holds the features of several encoders ({shown}); give the folder of each")
    place = places[0] if places else folder
    for suffix in (".h5", ".pt"):
        found: dict[str, Path] = {}
        for path in sorted(place.rglob(f"*{suffix}")):
            if is_hidden(path, folder) or path.parent.name == "patches" or not path.is_file():
                continue
            if path.stem in found:
                raise InputError(f"{folder}: {found[path.stem]} and {path} are of one slide; give the folder of one")
            found[path.stem] = path
        if found:
            return found
    raise InputError(f"{folder}: holds no features; they end in .h5 or .pt")


def _stem(name: str) -> str:
    """Return the name of a slide without folder and suffix; names may hold points."""
    name = re.split(r"[/\\]", name)[-1]
    ends = [end for end in (*SUFFIXES, ".h5", ".pt") if name.lower().endswith(end)]
    return name[: -len(ends[0])] if ends else name
