"""The manifest: the CSV that names slides or tiles, their patients and outcomes, validated whole before work starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmgdm_monai.data.manifest.table import ManifestError, Table, number_of, read_table
from hmgdm_monai.data.slides.scale import WANTED as WANTED_MPP
from hmgdm_monai.data.slides.scale import plausible_mpp

REQUIRED = ("image", "patient")
_TOLD = ("label", "time", "event", "fold", "mpp")  # columns of values
OPTIONAL = (*_TOLD, "features", "cells", "coords", "regions", "region_classes", "graphs")
FILES = ("image", "features", "cells", "coords", "regions", "graphs")  # columns that name files
PER_PATIENT = ("time", "event", "fold")  # columns in which all rows of a patient must agree
_LONGEST_SHOWN = 100  # characters of a cell in a message


def base_name(row_id: str) -> str:
    """Last part of a row's id: what does not change when a cohort moves to another folder.

    Args:
        row_id: of a row of the manifest.

    Example:
        >>> base_name("slides/a")
        'a'
    """
    return row_id.rsplit("/", 1)[-1]


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

    @property
    def left_out(self) -> dict[str, str]:
        """The faults by their place: "cohort.csv line 3" -> all that is wrong there."""
        found: dict[str, list[str]] = {}
        for fault in self.faults:
            start = f"{self.path.name} line "
            number, _, reason = fault.removeprefix(start).partition(": ")
            found.setdefault(f"{start}{number}", []).append(reason)
        return {place: "; ".join(reasons) for place, reasons in found.items()}


def read_manifest(path: str | os.PathLike[str], require: Sequence[str] = (), strict: bool = False) -> Manifest:
    """Read and check a manifest.

    Columns `image` (relative to the manifest's folder, or absolute) and `patient`; as a task needs them `label`,
    `time`, `event`, `fold`, `mpp`, `features`, `cells`, `coords`, `regions`, `region_classes` (names, separated by
    semicolons), `graphs`. Others are ignored. A row that names graphs may leave `image` empty; where all do, the column
    may be missing.

    NA, NaN, None, #N/A and the like are empty cells (:data:`hmgdm_monai.data.manifest.table.MISSING`). Where time,
    event or fold stands in some of a patient's rows only, the others take it from there.

    A bad row is left out and named in `faults`: a missing file, an empty cell that is required, a bad number, an image
    named twice, a patient whose rows disagree in time, event or fold, or who has none where it is required (all of that
    patient's rows).

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
    table = read_table(path)
    if "graphs" in table.header and "image" not in table.header:
        needed = tuple(column for column in needed if column != "image")
    _check_header(table, needed)
    folder = Path(os.path.abspath(path.parent))
    read = [_read_row(table.header, cells, number, folder, needed) for number, cells in table.rows]
    _fill_gaps(read, [column for column in PER_PATIENT if column in needed])

    seen: dict[str, int] = {}
    for line in read:
        row = line.row
        if not line.faults and (first := seen.setdefault(row.id, row.line)) != row.line:
            line.faults.append(f"image {row.id!r} was already named in line {first} (suffixes do not count)")
    rows = tuple(line.row for line in read if not line.faults and not line.left_out)
    messages = tuple(f"{path.name} line {line.row.line}: {fault}" for line in read for fault in line.faults)
    if not rows or (strict and messages):
        if not table.rows:
            raise ManifestError(f"{path}: no row is usable, for there is none; give it a row for each image")
        what = "no row is usable" if not rows else f"{len(messages)} fault(s)"
        raise ManifestError("\n  ".join([f"{path}: {what}; mend these lines:", *messages]))
    return Manifest(path, rows, messages)


@dataclass
class _Line:
    """A row while it is read, what is wrong with it, and whether its patient is left out."""

    row: ManifestRow
    faults: list[str]
    left_out: bool = False


def _check_header(table: Table, needed: Sequence[str]) -> None:
    header, faults = table.header, []
    if missing := [column for column in needed if column not in header]:
        there = ", ".join(repr(column) for column in header)
        faults.append(f"column {', '.join(repr(column) for column in missing)} missing; those there are {there}")
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        faults.append(f"column {', '.join(repr(column) for column in twice)} stands twice; keep one")
    if faults:
        raise ManifestError(f"{table.path} line {table.line}: " + "; ".join(faults))


def _read_row(header: list[str], texts: list[str], number: int, folder: Path, needed: Sequence[str]) -> _Line:
    """A row with its faults; its image is its graphs where it names none, and the folder, a fault, without either."""
    cells = dict(zip(header, texts, strict=False))
    patient = cells.get("patient") or ""
    if cells.get("graphs"):
        needed = [column for column in needed if column != "image"]
    faults = [
        f"{column} is empty; fill it in" for column in needed if column not in PER_PATIENT and not cells.get(column)
    ]
    if "image" not in needed and not cells.get("image") and not cells.get("graphs"):
        faults.append("neither image nor graphs is filled in; name one of them")
    values: dict[str, Any] = {"label": cells.get("label") or None}
    for column, parse, wanted in _NUMBERS:
        text = cells.get(column)
        if not text:
            continue
        try:
            values[column] = parse(text)
        except (ValueError, OverflowError):
            whose = f"patient {patient!r}: " if patient and column in PER_PATIENT else ""
            faults.append(f"{whose}{column} must be {wanted}, not {_shown(text)}")
    for column in FILES:
        if cells.get(column):
            values[column] = Path(os.path.normpath(folder / cells[column]))
            if not os.path.isfile(values[column]):
                faults.append(f"{column} {_shown(cells[column])} not found; paths are relative to {folder}")
    if cells.get("region_classes"):
        names = (name.strip() for name in cells["region_classes"].split(";"))
        values["region_classes"] = tuple(name for name in names if name)
        if not cells.get("regions"):
            faults.append("region_classes without regions; name the GeoJSON file in the column regions")
    image = values.pop("image", values.get("graphs", folder))
    if len(texts) > len(header):
        faults.append(f"{len(texts)} cells under {len(header)} columns; quote cells that hold commas")
    return _Line(ManifestRow(image, patient, number, folder=folder, **values), faults)


def _shown(text: str) -> str:
    """A cell as a message shows it."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _positive(text: str) -> float:
    value = number_of(text)
    if value is None or value <= 0:
        raise ValueError(text)
    return value


def _mpp(text: str) -> float:
    """Microns per pixel that a microscope can have; a magnification in their place would shrink all tiles to a dot."""
    value = plausible_mpp(number_of(text))
    if value is None:
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    """A whole number from 0; "1.0" counts, for that is what a table program makes of a column with gaps."""
    value = number_of(text)
    if value is None or value != int(value) or value < 0:
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


def _fill_gaps(read: Sequence[_Line], needed: Sequence[str]) -> None:
    """Give every row what its patient's other rows say of time, event and fold.

    Patients whose rows disagree, or none of whose rows fills a column that is needed, are left out, and the first of
    their rows gets the fault. What a row says counts also where the row cannot be used for another reason.
    """
    patients: dict[str, list[_Line]] = {}
    for line in read:
        if line.row.patient:
            patients.setdefault(line.row.patient, []).append(line)
    for patient, theirs in patients.items():
        agreed: dict[str, Any] = {}
        faults: list[str] = []
        left_out = f"the patient's {len(theirs)} rows are left out"
        for column in PER_PATIENT:
            said = [(getattr(line.row, column), line.row.line) for line in reversed(theirs)]
            values = {value: number for value, number in said if value is not None}
            if len(values) > 1:
                shown = ", ".join(f"{value} (line {number})" for value, number in sorted(values.items()))
                faults.append(f"patient {patient!r} has more than one {column}: {shown}; {left_out}")
            elif values:
                agreed[column] = next(iter(values))
        whole = any(not line.faults for line in theirs)  # else each of them is left out for its own fault
        if whole and (missing := [column for column in needed if column not in agreed]) and not faults:
            faults.append(f"patient {patient!r} has no {' and no '.join(missing)}; {left_out}")
        for line in theirs:
            line.row = replace(line.row, **agreed)
            line.left_out = bool(faults)
        theirs[0].faults += faults
