"""Write a manifest for a folder of slides, with the coordinates and regions that other programs exported for them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".png", ".jpg", ".jpeg")
TCGA = r"^(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})"  # project, site, participant: the first 12 characters of a barcode
# Suffix that each tool adds to the stem of a slide: CLAM none, TRIDENT "_patches", QuPath the slide's suffix or none.
_COORDS_ENDS = ("{stem}.h5", "{stem}_patches.h5")
_REGION_ENDS = ("{stem}.geojson", "{name}.geojson", "{stem}.json")


def make_manifest(
    slides: Path | str,
    output: Path | str,
    coords: Path | str | None = None,
    regions: Path | str | None = None,
    region_classes: Sequence[str] = (),
    patient: str | None = None,
) -> tuple[int, list[str]]:
    """Write a manifest of all slides in a folder and its subfolders.

    Args:
        slides: folder of the slides.
        output: CSV file to write; paths in it are relative to its folder.
        coords: output folder of CLAM (with ``patches/<slide>.h5``) or TRIDENT (``<magnification>x_.../patches/
            <slide>_patches.h5``), or the folder that holds these files; None writes no column.
        regions: folder of GeoJSON files named ``<slide>.geojson``; None writes no column.
        region_classes: class names to write for each slide that has regions.
        patient: regular expression that is searched in a slide's stem; its first group (or the whole match) is the
            patient. "tcga" takes the first 12 characters of a TCGA barcode. None: each slide is a patient of its own,
            named by its stem.

    Returns:
        Number of rows written, and one line for each slide that was skipped.

    Raises:
        InputError: a folder does not exist, it holds no slide, the pattern is not a regular expression, or two files
            or two slides share the name by which files are matched.
    """
    slides, output = folder_of(slides, "slides"), Path(output)
    pattern = None if patient is None else patient_pattern(patient)
    found = sorted(
        p for p in slides.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and not is_hidden(p, slides)
    )
    if not found:
        raise InputError(f"{slides}: holds no slide; slides end in {', '.join(SUFFIXES)}")
    places = None if coords is None else _index(folder_of(coords, "coords"), ".h5")
    areas = None if regions is None else _index(folder_of(regions, "regions"), "json")
    twins = [stem for stem, count in Counter(path.stem for path in found).items() if count > 1]
    if twins and (places is not None or areas is not None):
        raise InputError(
            f"{slides}: two slides are called {twins[0]}, so files cannot be matched to them by name; rename one"
        )
    rows: list[dict[str, str]] = []
    notes: list[str] = []
    for path in found:
        name = path.relative_to(slides).as_posix()
        match = None if pattern is None else pattern.search(path.stem)
        if pattern is not None and match is None:
            notes.append(f"{name}: left out, its name does not match {pattern.pattern!r}")
            continue
        row = {"image": relative_path(path, output), "patient": path.stem if match is None else matched_patient(match)}
        for column, files, ends in (("coords", places, _COORDS_ENDS), ("regions", areas, _REGION_ENDS)):
            if files is None:
                continue
            candidates = [one for end in ends for one in files.get(end.format(stem=path.stem, name=path.name), [])]
            if len(candidates) > 1:
                shown = ", ".join(sorted(str(one) for one in candidates))
                raise InputError(
                    f"{name}: has more than one file of {column} ({shown}); give the folder of one of them"
                )
            if not candidates:
                notes.append(f"{name}: left out, it has no file of {column}")
                break
            row[column] = relative_path(candidates[0], output)
            if column == "regions" and region_classes:
                row["region_classes"] = ";".join(region_classes)
        else:
            rows.append(row)
    if not rows:
        raise InputError(f"{slides}: none of its {len(found)} slides can be listed; the first: {notes[0]}")
    write_whole(output, csv_text([list(rows[0]), *(list(row.values()) for row in rows)]).encode())
    return len(rows), notes


def folder_of(path: Path | str, what: str) -> Path:
    """Return the path of an existing folder.

    Raises:
        InputError: there is no such folder; ``what`` says what it should hold.
    """
    if not Path(path).is_dir():
        raise InputError(f"{path}: there is no such folder of {what}")
    return Path(path)


def patient_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of patients; "tcga" for that of TCGA barcodes.

    Raises:
        InputError: it is not a regular expression.
    """
    try:
        return re.compile(TCGA if text == "tcga" else text)
    except re.error as error:
        raise InputError(f"patient pattern {text!r} is not a regular expression ({error}); correct it") from error


def matched_patient(match: re.Match[str]) -> str:
    """Return the first group of the match, or the whole match if there is no group or the group is empty."""
    return (match[1] if match.re.groups else None) or match[0]


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path within a folder is hidden."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _index(folder: Path, suffix: str) -> dict[str, list[Path]]:
    """Map each file name to its files; in a CLAM or TRIDENT folder, only files in folders named `patches` count."""
    found = [path for path in sorted(folder.rglob(f"*{suffix}")) if path.is_file() and not is_hidden(path, folder)]
    if suffix == ".h5":
        found = [path for path in found if path.parent.name == "patches"] or found
    index: dict[str, list[Path]] = {}
    for path in found:
        index.setdefault(path.name, []).append(path)
    return index


def relative_path(path: Path, manifest: Path) -> str:
    """Return a path relative to the folder of a manifest."""
    return Path(os.path.relpath(path, manifest.parent)).as_posix()
