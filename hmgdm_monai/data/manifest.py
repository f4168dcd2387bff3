"""The manifest: the CSV that names slides or tiles, their patients and outcomes, validated whole before work starts."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmgdm_monai.data.slide_scale import WANTED as WANTED_MPP
from hmgdm_monai.data.slide_scale import plausible_mpp
from hmgdm_monai.errors import InputError

REQUIRED = ("image", "patient")
OPTIONAL = ("label", "time", "event", "fold", "mpp", "features", "cells", "coords", "regions", "region_classes")
OPTIONAL += ("graphs",)
FILES = ("image", "features", "cells", "coords", "regions", "graphs")  # columns that name files
PER_PATIENT = ("time", "event", "fold")  # columns in which all rows of a patient must agree


class ManifestError(InputError):
    """A manifest that cannot be used. Its message has one line for each fault, so that all are mended in one go."""


@dataclass(frozen=True)
class ManifestRow:
    """One image of the cohort.

    Attributes:
        image: absolute path of a slide (SVS, tiled TIFF, ...) or tile (PNG, JPEG, TIFF); that of `graphs` where the
            manifest names graphs and no image.
        patient: whose it is; folds and outcomes belong to patients.
        line: its line in the CSV, the header being line 1.
        label: class name.
        time: time to the event or to the last sight of the patient, in the cohort's unit, > 0.
        event: 1 = died (or whatever the event is), 0 = censored.
        fold: cross-validation fold, 0 and up.
        mpp: microns per pixel of level 0, 0.05 to 20; wins over what the file says.
        features: absolute path of an HDF5 file with `features` (M, D) of any encoder, and optional `coords`.
        cells: absolute path of the image's cells: a label map (PNG, NPY) of its size, or outlines (GeoJSON).
        coords: absolute path of an HDF5 file of CLAM or TRIDENT with the places of the tiles, instead of a grid.
        regions: absolute path of a GeoJSON file with annotations; only tiles in them are taken.
        region_classes: names of the annotations' classes that are taken; empty takes all.
        graphs: absolute path of a file with graphs of the image that another program has made (PyG, NPZ).
        folder: the manifest's folder, from which `id` counts.
    """

    image: Path
    patient: str
    line: int
    label: str | None = None
    time: float | None = None
    event: int | None = None
    fold: int | None = None
    mpp: float | None = None
    features: Path | None = None
    cells: Path | None = None
    coords: Path | None = None
    regions: Path | None = None
    region_classes: tuple[str, ...] = ()
    graphs: Path | None = None
    folder: Path | None = None

    @property
    def id(self) -> str:
        """The image's path relative to the manifest, with forward slashes and without suffix: `slides/a`."""
        folder = self.image.parent if self.folder is None else self.folder
        return Path(os.path.relpath(self.image, folder)).with_suffix("").as_posix()


@dataclass(frozen=True)
class Manifest:
    """A cohort as read.

    Attributes:
        path: the CSV.
        rows: its good rows, in the order of the file.
        faults: one line for each row that was left out (or reason to leave it out), with its place in the CSV.
    """

    path: Path
    rows: tuple[ManifestRow, ...]
    faults: tuple[str, ...]


def read_manifest(path: str | os.PathLike[str], require: Sequence[str] = (), strict: bool = False) -> Manifest:
    """Read and check a manifest.

    Columns `image` (relative to the manifest's folder, or absolute) and `patient`; as a task needs them `label`,
    `time`, `event`, `fold`, `mpp`, `features`, `cells`, `coords`, `regions`, `region_classes` (names, separated by
    semicolons), `graphs`. Others are ignored. A row that names graphs may leave `image` empty; where all do, the column
    may be missing.

    A bad row is left out and named in `faults`: a missing file, an empty cell that is required, a bad number, an image
    named twice, a patient whose rows disagree in time, event or fold (all of that patient's rows).

    Args:
        path: the CSV, UTF-8, comma separated, with a header.
        require: optional columns that the task at hand needs filled in every row, such as ("time", "event").
        strict: raise on any fault.

    Raises:
        ManifestError: no such file, not a CSV, a column missing, no rows, no good row; or any fault where `strict`.
    """
    path = Path(path)
    needed = (*REQUIRED, *(column for column in require if column not in REQUIRED))
    if unknown := [column for column in needed if column not in REQUIRED + OPTIONAL]:
        raise ValueError(
            f"no manifest column is called {', '.join(unknown)}; there are {', '.join(REQUIRED + OPTIONAL)}"
        )
    header, lines = _read_table(path)
    if "graphs" in header and "image" not in header:
        needed = tuple(column for column in needed if column != "image")
    _check_header(path, header, needed)
    folder = Path(os.path.abspath(path.parent))

    rows: list[ManifestRow] = []
    faults: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    for number, cells in lines:
        row, row_faults = _read_row(dict(zip(header, cells, strict=False)), number, folder, needed)
        if len(cells) > len(header):
            row_faults.append(f"{len(cells)} cells under {len(header)} columns; quote cells that hold commas")
        if row is not None and not row_faults and row.id in seen:
            row_faults.append(f"image {row.id!r} was already named in line {seen[row.id]} (suffixes do not count)")
        if row is None or row_faults:
            faults += [(number, fault) for fault in row_faults]
            continue
        seen[row.id] = number
        rows.append(row)
    rows, disagreements = _drop_contradictions(rows)
    faults = sorted(faults + disagreements)

    messages = tuple(f"{path.name} line {number}: {fault}" for number, fault in faults)
    if not rows or (strict and messages):
        what = "no row is usable" if not rows else f"{len(messages)} fault(s)"
        raise ManifestError("\n  ".join([f"{path}: {what}; mend these lines:", *messages]))
    return Manifest(path, tuple(rows), messages)


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line number, cells) of each row that is not blank."""
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest; give the path of a CSV with columns {', '.join(REQUIRED)}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not a CSV in UTF-8 ({error}); export it as one") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise ManifestError(f"{path}: the manifest is empty; give it a header with {', '.join(REQUIRED)} and rows")
    return lines[0][1], lines[1:]


def _check_header(path: Path, header: list[str], needed: Sequence[str]) -> None:
    faults = []
    if missing := [column for column in needed if column not in header]:
        there = ", ".join(repr(column) for column in header)
        faults.append(f"column {', '.join(repr(column) for column in missing)} missing; those there are {there}")
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        faults.append(f"column {', '.join(repr(column) for column in twice)} stands twice; keep one")
    if faults:
        raise ManifestError(f"{path} line 1: " + "; ".join(faults))


def _read_row(
    cells: dict[str, str], number: int, folder: Path, needed: Sequence[str]
) -> tuple[ManifestRow | None, list[str]]:
    """A row and its faults; no row where it names no image."""
    if cells.get("graphs"):
        needed = [column for column in needed if column != "image"]
    faults = [f"{column} is empty; fill it in" for column in needed if not cells.get(column)]
    values: dict[str, Any] = {"label": cells.get("label") or None}
    for column, parse, wanted in _NUMBERS:
        text = cells.get(column)
        if not text:
            continue
        try:
            values[column] = parse(text)
        except (ValueError, OverflowError):
            faults.append(f"{column} must be {wanted}, not {text!r}")
    for column in FILES:
        if cells.get(column):
            values[column] = Path(os.path.normpath(folder / cells[column]))
            if not values[column].is_file():
                faults.append(f"{column} {cells[column]!r} not found; paths are relative to {folder}")
    if cells.get("region_classes"):
        names = (name.strip() for name in cells["region_classes"].split(";"))
        values["region_classes"] = tuple(name for name in names if name)
        if not cells.get("regions"):
            faults.append("region_classes without regions; name the GeoJSON file in the column regions")
    if "image" not in values and "graphs" in values:
        values["image"] = values["graphs"]
    if "image" not in values:
        return None, faults or ["neither image nor graphs is filled in; name one of them"]
    return ManifestRow(patient=cells.get("patient") or "", line=number, folder=folder, **values), faults


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)
    return value


def _mpp(text: str) -> float:
    """Microns per pixel that a microscope can have; a magnification in their place would shrink all tiles to a dot."""
    value = plausible_mpp(text)
    if value is None:
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    """A whole number from 0; "1.0" counts, for that is what a table program makes of a column with gaps."""
    value = float(text)
    if value != int(value) or value < 0:
        raise ValueError(text)
    return int(value)


def _zero_or_one(text: str) -> int:
    value = _whole(text)
    if value > 1:
        raise ValueError(text)
    return value


_NUMBERS: tuple[tuple[str, Callable[[str], float], str], ...] = (
    ("time", _positive, "a number above 0"),
    ("event", _zero_or_one, "1 (died) or 0 (censored)"),
    ("fold", _whole, "a whole number from 0"),
    ("mpp", _mpp, WANTED_MPP),
)


def _drop_contradictions(rows: list[ManifestRow]) -> tuple[list[ManifestRow], list[tuple[int, str]]]:
    """Leave out every row of a patient whose rows disagree; gaps are filled from the patient's other rows."""
    by_patient: dict[str, list[ManifestRow]] = {}
    for row in rows:
        by_patient.setdefault(row.patient, []).append(row)
    faults: list[tuple[int, str]] = []
    agreed: dict[str, dict[str, Any]] = {}
    for patient, theirs in by_patient.items():
        for column in PER_PATIENT:
            values = {getattr(row, column): row.line for row in reversed(theirs) if getattr(row, column) is not None}
            if len(values) > 1:
                told = ", ".join(f"{value} (line {line})" for value, line in sorted(values.items()))
                left_out = f"the patient's {len(theirs)} rows are left out"
                faults.append((theirs[0].line, f"patient {patient!r} has more than one {column}: {told}; {left_out}"))
                agreed[patient] = {}
            elif values and agreed.get(patient) != {}:
                agreed.setdefault(patient, {})[column] = next(iter(values))
    bad = {patient for patient in by_patient if agreed.get(patient) == {}}
    kept = [replace(row, **agreed.get(row.patient, {})) for row in rows if row.patient not in bad]
    return kept, faults
