"""The demo cohort as a folder: slides, tiles, manifests and the truth behind them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from hmgdm_monai.data.demo.artifacts import ARTIFACTS, draw_artifacts
from hmgdm_monai.data.demo.layout import GRID_UM, TissueLayout, draw_layout
from hmgdm_monai.data.demo.nuclei import paint_nuclei
from hmgdm_monai.data.demo.patient import TISSUES, PatientPlan, plan_patient
from hmgdm_monai.data.demo.slide_writer import LEVELS, TILE_PX, write_pyramid, write_tile
from hmgdm_monai.data.demo.stain import draw_optics, expose
from hmgdm_monai.data.demo.texture import paint_texture
from hmgdm_monai.data.demo.tiles import TILE_UM, pick_tiles
from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError, file_error

TILE_MPP = TILE_UM / TILE_PX
MARKER = "cohort.json"
DEFAULT_FOLDER = Path("demo_cohort")
# Increase it with every change of the drawing code: a folder drawn by other code must not be continued.
_DRAWING = 1

_README = """\
This cohort is SYNTHETIC. It shows no real patient, tissue or scanner: every pixel, label and survival time was drawn
by a program (hmgdm_monai.data.demo). Use it to try the software. Results measured on it say nothing about medicine.

slides/       one H&E slide per patient (pyramidal JPEG TIFF)
slides.csv    image, patient, label (benign, low_grade, high_grade), time (months), event (1 = died), fold
tiles/        256 px tiles at 1 um per px, cropped from the slides
tiles.csv     image, patient, label (the tissue that dominates the tile), fold, mpp
truth.csv     patient, label, log_hazard (true), share of each tissue in the tissue area
cohort.json   the settings; the same command resumes an interrupted cohort
"""
_README_ARTIFACTS = f"""\
artifacts/    where pen marks, blur and folds were drawn: one PNG per slide, {GRID_UM:g} um per px, with the values
              {", ".join(f"{value} {name}" for value, name in enumerate(ARTIFACTS))}
"""


@dataclass(frozen=True)
class DemoCohort:
    """Paths of the parts of a cohort: its folder and the three tables."""

    folder: Path
    slides: Path
    tiles: Path
    truth: Path


def make_demo_cohort(
    folder: str | Path,
    seed: int = 0,
    n_patients: int = 24,
    slide_px: int = 2048,
    mpp: float = 0.5,
    artifacts: bool = False,
) -> DemoCohort:
    """Draw a cohort of synthetic H&E slides with labeled tiles and survival, or complete an interrupted one.

    A patient depends only on (seed, index of the patient, slide_px, mpp). Existing files are complete and are kept, so
    an interrupted cohort is resumed, and a larger `n_patients` extends a cohort. The tables are written last.

    Args:
        folder: output folder; created if necessary.
        seed: the same seed gives the same pixels.
        n_patients: number of patients, with one slide each.
        slide_px: side of a slide in px; divisible by 4 and at least 256 um.
        mpp: microns per px of the slides, 0.2 to 1.
        artifacts: draw pen marks, regions out of focus and folds, too, and write maps of where they are; see
            :func:`~hmgdm_monai.data.demo.artifacts.draw_artifacts`.

    Returns:
        The paths of the tables.

    Raises:
        InputError: a setting is out of range, the folder holds other files or a cohort with other settings, or it
            cannot be written.

    Example:
        >>> from hmgdm_monai import make_demo_cohort
        >>> cohort = make_demo_cohort("cohort", n_patients=1, slide_px=256, mpp=1.0)
        >>> cohort.slides.read_text().splitlines()[0]
        'image,patient,label,time,event,fold'
    """
    folder = Path(folder).absolute()
    _check_settings(seed, n_patients, slide_px, mpp)
    settings: dict[str, Any] = {"drawing": _DRAWING, "seed": seed, "slide_px": slide_px, "mpp": mpp}
    if artifacts:
        settings["artifacts"] = True
    try:
        return _draw(folder, n_patients, settings)
    except OSError as error:
        raise file_error(folder, error) from error


def _draw(folder: Path, n_patients: int, settings: dict[str, Any]) -> DemoCohort:
    _claim_folder(folder, settings)
    seed, slide_px, mpp = settings["seed"], settings["slide_px"], settings["mpp"]
    artifacts = "artifacts" in settings
    cohort = DemoCohort(folder, folder / "slides.csv", folder / "tiles.csv", folder / "truth.csv")
    if _is_complete(cohort, n_patients):
        return cohort
    (folder / "slides").mkdir(exist_ok=True)
    (folder / "tiles").mkdir(exist_ok=True)

    slides, tiles, truth = [], [], []
    for index in tqdm(range(n_patients), desc="demo slides", unit="slide"):
        plan = plan_patient(seed, index)
        layout = draw_layout(plan, slide_px * mpp)
        slide_path = folder / "slides" / f"{plan.name}.tif"
        if not slide_path.exists():
            image = draw_slide(plan, layout, slide_px, mpp)
            if artifacts:
                image, marked = draw_artifacts(image, plan, layout, mpp)
                _write_map(folder / "artifacts" / f"{plan.name}.png", marked)  # before the slide: it then exists, too
            write_pyramid(slide_path, image, mpp)
        slides.append(
            [f"slides/{slide_path.name}", plan.name, plan.label, plan.time, plan.event, plan.fold],
        )
        tiles += _write_tiles(folder, plan, layout, mpp)
        shares = layout.shares()
        truth.append(
            [plan.name, plan.label, round(plan.log_hazard, 6), *(round(shares[tissue], 6) for tissue in TISSUES)]
        )

    _write_text(folder / "README.txt", _README + _README_ARTIFACTS if artifacts else _README)
    _write_table(cohort.truth, ["patient", "label", "log_hazard", *(f"share_{tissue}" for tissue in TISSUES)], truth)
    _write_table(cohort.tiles, ["image", "patient", "label", "fold", "mpp"], tiles)
    _write_table(cohort.slides, ["image", "patient", "label", "time", "event", "fold"], slides)
    return cohort


def draw_slide(plan: PatientPlan, layout: TissueLayout, slide_px: int, mpp: float) -> NDArray[np.uint8]:
    """Draw a patient's slide in memory.

    Args:
        plan: the patient.
        layout: the patient's tissues, from `draw_layout(plan, slide_px * mpp)`.
        slide_px: side in px.
        mpp: microns per px.

    Returns:
        (slide_px, slide_px, 3) uint8 RGB.
    """
    stains = paint_texture(plan, layout, slide_px, mpp)
    paint_nuclei(stains, plan, layout, mpp)
    return expose(stains, draw_optics(plan), mpp)


def _write_tiles(folder: Path, plan: PatientPlan, layout: TissueLayout, mpp: float) -> list[list[Any]]:
    """Write the missing tiles of a patient and return the table rows of all of them."""
    slide = None
    rows = []
    side_px = round(TILE_UM / mpp)
    for number, place in enumerate(pick_tiles(layout)):
        path = folder / "tiles" / f"{plan.name}_{number:02d}_{place.label}.png"
        rows.append([f"tiles/{path.name}", plan.name, place.label, plan.fold, TILE_MPP])
        if path.exists():
            continue
        if slide is None:
            # Tiles are cropped from the written JPEG file, so that they are the same when they are added later.
            slide = tifffile.imread(folder / "slides" / f"{plan.name}.tif", key=0)
        last = slide.shape[0] - side_px
        write_tile(path, slide, min(round(place.x_um / mpp), last), min(round(place.y_um / mpp), last), side_px)
    return rows


def _check_settings(seed: int, n_patients: int, slide_px: int, mpp: float) -> None:
    if seed < 0:
        raise InputError(f"seed is {seed}; give 0 or more")
    if n_patients < 1:
        raise InputError(f"number of patients is {n_patients}; give 1 or more")
    if not (math.isfinite(mpp) and 0.2 <= mpp <= 1.0):
        raise InputError(f"mpp is {mpp}; give microns per px between 0.2 and 1")
    divisor = 2 ** (LEVELS - 1)
    if slide_px % divisor or slide_px * mpp < TILE_UM:
        least = divisor * math.ceil(TILE_UM / mpp / divisor)
        raise InputError(f"slide size is {slide_px} px; give a multiple of {divisor}, at least {least} at mpp {mpp}")


def _claim_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings to the folder, or check that its existing settings agree."""
    marker = folder / MARKER
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the demo cohort")
    if not marker.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no {MARKER}; give an empty or a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        _write_text(marker, json.dumps(settings, indent=2) + "\n")
        return
    try:
        found = json.loads(marker.read_text())
    except ValueError as error:
        raise InputError(f"{marker} is not JSON ({error}); delete the folder or give another one") from error
    if found != settings:
        raise InputError(
            f"{folder} holds a cohort with other settings ({json.dumps(found)}, wanted {json.dumps(settings)}); "
            "delete it or give another folder"
        )


def _is_complete(cohort: DemoCohort, n_patients: int) -> bool:
    """Whether the tables, which are written last, list so many patients, and all their files exist."""
    if not all(table.exists() for table in (cohort.slides, cohort.tiles, cohort.truth)):
        return False
    images = []
    for table in (cohort.slides, cohort.tiles):
        with table.open(newline="") as stream:
            images.append([row["image"] for row in csv.DictReader(stream)])
    return len(images[0]) == n_patients and all((cohort.folder / image).exists() for image in sum(images, []))


def _write_map(path: Path, marked: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    Image.fromarray(marked).save(content, format="PNG")
    write_whole(path, content.getvalue())


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    _write_text(path, csv_text([header, *rows]))


def _write_text(path: Path, text: str) -> None:
    write_whole(path, text.encode())


def draw_if_default(manifest: str | Path) -> None:
    """Draw or complete the demo cohort if ``manifest`` is its default path; any other manifest is left unchanged."""
    from hmgdm_monai.ranks import first_rank_first

    if Path(manifest) == DEFAULT_FOLDER / "slides.csv":
        with first_rank_first():
            make_demo_cohort(DEFAULT_FOLDER)
