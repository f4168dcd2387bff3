"""Figure of the tiles with the highest and lowest attention and prediction over a cross-validation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.patient_file import load_patient_model
from hmgdm_monai.tasks.inference.patient_values import ATTENTION, predicted_quantities
from hmgdm_monai.tasks.patients.cross_validation import PatientCrossValidation
from hmgdm_monai.tasks.patients.targets.target import Target
from hmgdm_monai.visualize.extremes import ExtremePanel, ExtremeRow, draw_extremes
from hmgdm_monai.visualize.save import save_figure

logger = logging.getLogger(__name__)

PICTURE_PX = 192
_EXPLAINED = "Each patient's tiles are valued by the model that never saw the patient."


@dataclass(frozen=True)
class _Tile:
    value: float
    row: ManifestRow
    patient: str
    place_px: tuple[float, float]
    side_px: float


def write_tile_extremes(
    cross_validation: Any, target: Target, path: Path, note: str | None = None, most: int = 5
) -> Path | None:
    """Write the figure of a target; nothing where no slide, or no place of its tiles, is at hand.

    Args:
        cross_validation: cross-validation that has run; evaluations of trained models have no figure.
        target: what is predicted.
        path: file of the figure.
        note: small text of the figure.
        most: number of highest and of lowest tiles, at most one of each patient.

    Returns:
        Path of the figure; None if there is none.

    Raises:
        InputError: the disk is full.
    """
    if not isinstance(cross_validation, PatientCrossValidation):
        return None
    found: dict[str, list[_Tile]] = {}
    for name, tiles in _extremes_of_patients(cross_validation, target):
        found.setdefault(name, []).extend(tiles)
    rows = []
    for name, tiles in found.items():
        tiles.sort(key=lambda tile: -tile.value)
        groups = [[_panel(tile) for tile in _of_patients(some, most)] for some in (tiles, tiles[::-1])]
        shown = [[panel for panel in group if panel is not None] for group in groups]
        rows.append(ExtremeRow(name.removeprefix("patient_"), shown))
    if not any(group for row in rows for group in row.groups):
        logger.info("no figure of the highest and lowest tiles: it needs slides, and features with coords")
        return None
    title = f"{target.name}: highest and lowest tiles"
    small = " ".join(part for part in (_EXPLAINED, note) if part)
    return save_figure(draw_extremes(rows, ["highest tiles", "lowest tiles"], title, small), path, dpi=110)


def _extremes_of_patients(
    cross_validation: PatientCrossValidation, target: Target
) -> Iterator[tuple[str, list[_Tile]]]:
    """Yield the highest and the lowest tile of each quantity and test patient."""
    data = cross_validation.data
    given = {row.features: row for row in data.cohort.rows if row.features}
    by_id = {row.id: row for row in data.cohort.rows}
    for fold in cross_validation.folds:
        model = load_patient_model(cross_validation.model_path(target, fold))
        names = [ATTENTION[0], *(name for name, _, _ in predicted_quantities(model))]
        for number in np.asarray(data.fold_of(target, fold).test).tolist():
            patient, bag = data.patients[number], data.bags[number]
            slides = [_slide(paths, given, by_id) for paths in patient.features]
            shown = np.array([one is not None for one in slides])[bag.slide.numpy()]
            if not shown.any():
                continue
            batch = Batch.from_data_list([bag])
            with torch.inference_mode():
                attention = model.network.attention(batch).float().numpy() * len(bag.x)
                predicted = model.loss.predict(model.network.tile_outputs(batch)).float().numpy()
            first = np.searchsorted(bag.slide.numpy(), np.arange(len(slides)))
            for name, values in zip(names, (attention, *predicted.T), strict=True):
                places = np.flatnonzero(shown)
                ends = {int(places[values[places].argmax()]), int(places[values[places].argmin()])}
                tiles = []
                for place in sorted(ends):
                    slide = int(bag.slide[place])
                    if (known := slides[slide]) is not None:
                        row, coords, side = known
                        x, y = coords[place - first[slide]].tolist()
                        tiles.append(_Tile(float(values[place]), row, patient.id, (x, y), side))
                yield name, tiles


def _slide(
    paths: tuple[Path, ...], given: dict[tuple[Path, ...], ManifestRow], by_id: dict[str, ManifestRow]
) -> tuple[ManifestRow, np.ndarray, float] | None:
    """Row, coordinates and side of tiles (level-0 pixels) of a slide at hand; None if something of it is missing."""
    features = read_features(paths[0])
    row = given.get(paths) or by_id.get(str(features.attrs.get("id")))
    side = features.attrs.get("tile_size_level0", features.attrs.get("patch_size_level0"))
    if row is None or row.slide is not None or not row.image.is_file() or features.coords is None or side is None:
        return None
    return row, features.coords, float(side)


def _of_patients(tiles: list[_Tile], most: int) -> list[_Tile]:
    """The first tiles, at most one of each patient."""
    first: dict[str, _Tile] = {}
    for tile in tiles:
        first.setdefault(tile.patient, tile)
    return list(first.values())[:most]


def _panel(tile: _Tile) -> ExtremePanel | None:
    from skimage.transform import resize

    try:
        with closing(open_slide(tile.row.image, mpp=tile.row.mpp)) as slide:
            if slide.mpp is None:
                side = round(tile.side_px)
                image = slide.read_region(*tile.place_px, side, side)
            else:
                mpp = slide.mpp * tile.side_px / PICTURE_PX
                image = slide.read_region(*tile.place_px, PICTURE_PX, PICTURE_PX, mpp)
    except InputError as error:
        logger.warning("no picture of a tile: %s", error)
        return None
    if len(image) > PICTURE_PX:
        image = np.rint(255 * resize(image / 255.0, (PICTURE_PX, PICTURE_PX), anti_aliasing=True)).astype(np.uint8)
    return ExtremePanel(image, f"{tile.patient}\n{tile.value:.3g}")
