"""The manifest: a CSV of slides or tiles with patients and outcomes, validated completely before work starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmgdm_monai.data.manifest.table import ManifestError, Table, number_of, read_table
from hmgdm_monai.data.slides.scale import WANTED as WANTED_MPP
from hmgdm_monai.data.slides.scale import plausible_mpp

REQUIRED = ("image", "patient")
_TOLD = ("label", "time", "event", "fold", "mpp")  # columns of values
OPTIONAL = (*_TOLD, "features", "slide", "cells", "coords", "regions", "region_classes", "mask", "graphs")
FILES = ("image", "features", "cells", "coords", "regions", "mask", "graphs")  # columns that name files
PER_PATIENT = ("time", "event", "fold")  # columns in which all rows of a patient must agree
_LONGEST_SHOWN = 100  # maximum number of characters of a cell in a message
LONGEST_NAME = 300  # maximum number of characters of a patient or label; longer ones are text in the wrong column


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
        image: absolute path of a slide (SVS, tiled TIFF, ...) or tile (PNG, JPEG, TIFF). If the manifest gives
            `graphs` or `features` and no image, this is the path of the graphs or of the first features.
        patient: patient of the image; folds and outcomes are per patient.
        line: line number in the CSV; the header is line 1.
        label: class name; None if empty.
        time: time to the event or to the last follow-up, > 0, in the time unit of the cohort; None if empty.
        event: 1 = died (or another event of interest), 0 = censored; None if empty.
        fold: index of the cross-validation fold, from 0; None if empty.
        mpp: microns per pixel of level 0, 0.05 to 20; overrides the value in the file. None: use the file's value.
        features: absolute paths of files with `features` (M, D) and optional `coords`: one for each encoder.
        slide: id of a slide of which only features exist; None for a row with an image.
        cells: absolute path of the cells: a label map (PNG, NPY) of the image's size, or outlines (GeoJSON).
        coords: absolute path of an HDF5 file of CLAM or TRIDENT with tile coordinates, used instead of a grid.
        regions: absolute path of a GeoJSON file with annotations; only tiles inside them are used.
        region_classes: class names of the annotations to use; empty uses all.
        mask: absolute path of a mask of the whole image (PNG, TIFF) or of a GeoJSON file with regions, from a program
            for quality control; only tiles that it keeps are used.
        graphs: absolute path of a file with graphs of the image from another program (PyG, NPZ).
        folder: folder of the manifest; `id` is relative to it.
    """

    image: Path
    patient: str
    line: int
    label: str | None = None
    time: float | None = None
    event: int | None = None
    fold: int | None = None
    mpp: float | None = None
    features: tuple[Path, ...] = ()
    slide: str | None = None
    cells: Path | None = None
    coords: Path | None = None
    regions: Path | None = None
    region_classes: tuple[str, ...] = ()
    mask: Path | None = None
    graphs: Path | None = None
    folder: Path | None = None

    @property
    def id(self) -> str:
        """The image's path relative to the manifest, with forward slashes and without suffix: `slides/a`.

        Without an image, the id of the slide.
        """
        if self.slide is not None:
            return self.slide
        folder = self.image.parent if self.folder is None else self.folder
        return Path(os.path.relpath(self.image, folder)).with_suffix("").as_posix()


@dataclass(frozen=True)
class Manifest:
    """A cohort as read from a manifest.

    Attributes:
        path: path of the CSV.
        rows: the valid rows, in file order.
        faults: one line for each problem that excludes rows, starting with the file name and line number.
    """

    path: Path
    rows: tuple[ManifestRow, ...]
    faults: tuple[str, ...]

    @property
    def left_out(self) -> dict[str, str]:
        """The faults grouped by line: "cohort.csv line 3" -> all problems of that line."""
        found: dict[str, list[str]] = {}
        for fault in self.faults:
            start = f"{self.path.name} line "
            number, _, reason = fault.removeprefix(start).partition(": ")
            found.setdefault(f"{start}{number}", []).append(reason)
        return {place: "; ".join(reasons) for place, reasons in found.items()}


def read_manifest(
    path: str | os.PathLike[str],
    require: Sequence[str] = (),
    strict: bool = False,
    names: Mapping[str, str] | None = None,
    without_image: Sequence[str] = ("graphs",),
) -> Manifest:
    """Read and validate a manifest.

    Required columns are `image` (relative to the manifest's folder, or absolute) and `patient`. Some tasks also need
    `label`, `time`, `event`, `fold`, `mpp`, `features` (a file, or several separated by semicolons: one for each
    encoder), `slide`, `cells`, `coords`, `regions`, `region_classes` (names separated by semicolons), `mask` or
    `graphs`. Other columns are ignored. A row that has one of ``without_image`` may leave `image` empty; if all rows
    have it, the column may be missing. The id of a slide without an image is its cell `slide`, or the stem of its first
    features file.

    NA, NaN, None, #N/A and similar texts count as empty (:data:`hmgdm_monai.data.manifest.table.MISSING`). If only some
    rows of a patient give time, event or fold, the value is copied to the patient's other rows.

    A bad row is skipped and reported in `faults`: a missing file, an empty required cell, an invalid number, a patient
    or label of more than 300 characters, or an image that occurs twice. All rows of a patient are skipped if they
    disagree in time, event or fold, or if none of them gives a required one of these.

    Args:
        path: path of the CSV, UTF-8, comma separated, with a header.
        require: optional columns that must be filled in every row, for example ("time", "event").
        strict: raise on any fault.
        names: column of the table for some of the optional columns, for example {"time": "os_months"}; "" reads none.
        without_image: columns that can take the place of `image`: "graphs", "features".

    Raises:
        ManifestError: the file does not exist or is not a CSV, a column is missing, there are no valid rows, or
            `strict` is set and there is any fault.
    """
    path = Path(path)
    needed = (*REQUIRED, *(column for column in require if column not in REQUIRED))
    if unknown := [column for column in needed if column not in REQUIRED + OPTIONAL]:
        raise ValueError(
            f"no manifest column is called {', '.join(unknown)}; there are {', '.join(REQUIRED + OPTIONAL)}"
        )
    table = read_table(path)
    names = dict(names or {})
    if "image" not in table.header and any(column in table.header for column in without_image):
        needed = tuple(column for column in needed if column != "image")
    _check_header(table, [names.get(column, column) for column in needed])
    folder = Path(os.path.abspath(path.parent))
    read = [
        _read_row(table.header, cells, number, folder, needed, without_image, names) for number, cells in table.rows
    ]
    _fill_gaps(read, [column for column in PER_PATIENT if column in needed], names)

    seen: dict[str, int] = {}
    for line in read:
        row = line.row
        if not line.faults and (first := seen.setdefault(row.id, row.line)) != row.line:
            line.faults.append(f"image {row.id!r} was already named in line {first} (suffixes do not count)")
    rows = tuple(line.row for line in read if not line.faults and not line.left_out)
    messages = tuple(f"{path.name} line {line.row.line}: {fault}" for line in read for fault in line.faults)
    if not rows or (strict and messages):
        if not table.rows:
            raise ManifestError(f"{path}: no row is usable, because the table has no rows; add a row for each image")
        what = "no row is usable" if not rows else f"{len(messages)} fault(s)"
        raise ManifestError("\n  ".join([f"{path}: {what}; correct these lines:", *messages]))
    return Manifest(path, rows, messages)


@dataclass
class _Line:
    """A row while it is read, its faults, and whether its patient is skipped."""

    row: ManifestRow
    faults: list[str]
    left_out: bool = False


def _check_header(table: Table, needed: Sequence[str]) -> None:
    header, faults = table.header, []
    if missing := [column for column in needed if column not in header]:
        there = ", ".join(repr(column) for column in header)
        faults.append(f"column {', '.join(repr(column) for column in missing)} missing; existing columns are {there}")
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        faults.append(f"column {', '.join(repr(column) for column in twice)} occurs twice; keep one")
    if faults:
        raise ManifestError(f"{table.path} line {table.line}: " + "; ".join(faults))


def _read_row(
    header: Sequence[str],
    texts: Sequence[str],
    number: int,
    folder: Path,
    needed: Sequence[str],
    without_image: Sequence[str],
    names: Mapping[str, str],
) -> _Line:
    """Parse a row and collect its faults; if no image is given, its graphs or features replace it."""
    cells = dict(zip(header, texts, strict=False))
    cells |= {column: cells.get(name, "") for column, name in names.items()}
    long = [column for column in ("patient", "label") if len(cells.get(column, "")) > LONGEST_NAME]
    long_faults = [
        f"{column} has {len(cells[column])} characters, at most {LONGEST_NAME} are taken: {_shown(cells[column])}"
        for column in long
    ]
    needed = [column for column in needed if column not in long]
    cells |= dict.fromkeys(long, "")
    patient = cells.get("patient") or ""
    instead = next((column for column in without_image if cells.get(column)), None)
    if instead is not None:
        needed = [column for column in needed if column != "image"]
    empty = [column for column in needed if column not in PER_PATIENT and not cells.get(column)]
    faults = [*long_faults, *(f"{column} is empty; fill it in" for column in empty)]
    if "image" not in needed and not cells.get("image") and instead is None:
        faults.append(f"neither image nor {' nor '.join(without_image)} is filled in; name one of them")
    values: dict[str, Any] = {"label": cells.get("label") or None}
    for column, parse, wanted in _NUMBERS:
        text = cells.get(column)
        if not text:
            continue
        try:
            values[column] = parse(text)
        except (ValueError, OverflowError):
            whose = f"patient {patient!r}: " if patient and column in PER_PATIENT else ""
            faults.append(f"{whose}{names.get(column, column)} must be {wanted}, not {_shown(text)}")
    for column in FILES:
        cell = cells.get(column, "")
        given = [text.strip() for text in cell.split(";")] if column == "features" else [cell]
        paths = tuple(Path(os.path.normpath(folder / text)) for text in given if text)
        faults += [
            f"{column} {_shown(text)} not found; paths are relative to {folder}"
            for text in given
            if text and not os.path.isfile(folder / text)
        ]
        if paths:
            values[column] = paths if column == "features" else paths[0]
    if cells.get("region_classes"):
        wanted_classes = (name.strip() for name in cells["region_classes"].split(";"))
        values["region_classes"] = tuple(name for name in wanted_classes if name)
        if not cells.get("regions"):
            faults.append("region_classes without regions; name the GeoJSON file in the column regions")
    if "image" not in values:
        values["image"] = values.get("graphs") or next(iter(values.get("features", ())), folder)
        if instead == "features":
            values["slide"] = cells.get("slide") or values["image"].stem
    image = values.pop("image")
    if len(texts) > len(header):
        faults.append(f"{len(texts)} cells under {len(header)} columns; quote cells that hold commas")
    return _Line(ManifestRow(image, patient, number, folder=folder, **values), faults)


def _shown(text: str) -> str:
    """Shorten a cell for a message."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _positive(text: str) -> float:
    value = number_of(text)
    if value is None or value <= 0:
        raise ValueError(text)
    return value


def _mpp(text: str) -> float:
    """Parse plausible microns per pixel; a magnification in this column would shrink all tiles to almost nothing."""
    value = plausible_mpp(number_of(text))
    if value is None:
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    """Parse a whole number >= 0; "1.0" is accepted because spreadsheets write it in columns with empty cells."""
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


def _fill_gaps(read: Sequence[_Line], needed: Sequence[str], names: Mapping[str, str]) -> None:
    """Copy time, event and fold from a patient's filled rows to its other rows.

    A patient is skipped if its rows disagree or if no row fills a required column; its first row then gets the fault.
    Values are also taken from rows that cannot be used for another reason.
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
                faults.append(f"patient {patient!r} has more than one {names.get(column, column)}: {shown}; {left_out}")
            elif values:
                agreed[column] = next(iter(values))
        whole = any(not line.faults for line in theirs)  # otherwise each row is skipped for its own fault
        missing = [names.get(column, column) for column in needed if column not in agreed]
        if whole and missing and not faults:
            faults.append(f"patient {patient!r} has no {' and no '.join(missing)}; {left_out}")
        for line in theirs:
            line.row = replace(line.row, **agreed)
            line.left_out = bool(faults)
        theirs[0].faults += faults
