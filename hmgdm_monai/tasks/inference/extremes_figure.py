"""Figures of the highest and lowest tiles and superpixels: one for each patient, and one for the cohort."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.inference.entity_values import Measure
from hmgdm_monai.tasks.inference.extremes import Extreme, from_arrays, merged
from hmgdm_monai.visualize.extremes import ExtremePanel, ExtremeRow, draw_extremes
from hmgdm_monai.visualize.save import save_figure

logger = logging.getLogger(__name__)

HEADINGS = {
    "tile_high": "highest tiles",
    "entity_high": "highest superpixels",
    "tile_low": "lowest tiles",
    "entity_low": "lowest superpixels",
}
_EXPLAINED = (
    "Below a tile: its value, and in brackets that of the outlined superpixel, which is the most extreme of the tile."
)


def write_extremes(
    found: Mapping[str, Mapping[str, np.ndarray]],
    rows: Mapping[str, ManifestRow],
    measures: Sequence[Measure],
    spec: TileSpec,
    most: int,
    folder: Path,
    entities: str = "superpixels",
    note: str | None = None,
) -> list[Path]:
    """Write ``cohort.png`` and ``patients/<patient>.png``.

    A slide that can no longer be read is left out and named in the log.

    Args:
        found: row id -> arrays of :func:`~hmgdm_monai.tasks.inference.extremes.to_arrays` of all quantities.
        rows: row id -> row.
        measures: the quantities; those that are not ranked are left out.
        spec: size and scale of the tiles.
        most: number of tiles in a group.
        folder: output folder.
        entities: what the entities are, in the plural.
        note: small text of the figures.

    Returns:
        Paths of the figures.

    Raises:
        InputError: the disk is full.
    """
    patients: dict[str, list[str]] = {}
    for row_id in found:
        patients.setdefault(rows[row_id].patient, []).append(row_id)
    targets = [("cohort.png", f"Cohort: highest and lowest of {len(patients)} patients", list(found))]
    for name, row_ids in patients.items():
        targets.append((f"patients/{safe_name(name)}.png", f"{name}: highest and lowest", row_ids))
    ranked = [(number, measure) for number, measure in enumerate(measures) if measure.ranked]
    headings = [text.replace("superpixels", entities) for text in HEADINGS.values()]
    small = " ".join(part for part in (_EXPLAINED.replace("superpixel", entities.rstrip("s")), note) if part)
    written = []
    for place, (target, title, row_ids) in enumerate(targets):
        theirs = {row_id: found[row_id] for row_id in row_ids}
        drawn = [_row(number, measure, theirs, rows, spec, most, place == 0) for number, measure in ranked]
        drawn = [row for row in drawn if any(row.groups)]
        if drawn:
            figure = draw_extremes(drawn, headings, title, small)
            written.append(save_figure(figure, folder / target, dpi=110))
    return written


def _row(
    number: int,
    measure: Measure,
    found: Mapping[str, Mapping[str, np.ndarray]],
    rows: Mapping[str, ManifestRow],
    spec: TileSpec,
    most: int,
    named: bool,
) -> ExtremeRow:
    groups: list[list[ExtremePanel]] = []
    for rank in HEADINGS:
        pairs = [(row_id, one) for row_id, arrays in found.items() for one in from_arrays(number, rank, arrays)]
        chosen = [] if rank.startswith("entity") and not measure.outlined else merged(pairs, rank, most)
        panels = [_panel(rows[row_id], one, measure, spec, named) for row_id, one in chosen]
        groups.append([panel for panel in panels if panel is not None])
    return ExtremeRow(measure.name.replace("_", " "), groups)


def _panel(row: ManifestRow, one: Extreme, measure: Measure, spec: TileSpec, named: bool) -> ExtremePanel | None:
    try:
        with closing(open_slide(row.image, mpp=row.mpp)) as slide:
            image = slide.read_regions(np.array([one.location_px]), spec.size_px, spec.mpp)[0]
    except InputError as error:
        logger.warning("no picture of a tile: %s", error)
        return None
    values = [f"{one.tile_value:.2f}"] if np.isfinite(one.tile_value) else []
    values += [f"({one.entity_value:.2f})"] if measure.outlined else []
    text = " ".join(values)
    return ExtremePanel(image, f"{row.patient}\n{text}" if named else text, one.mask if measure.outlined else None)
