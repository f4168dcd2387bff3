"""The report of a quality check: the scores of all tiles as a table, and pictures of slides with what was left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.quality_table import QualityTable
from hmgdm_monai.preparation.cohort import CohortGraphs
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.quality import REASONS
from hmgdm_monai.visualize.quality import quality_figure
from hmgdm_monai.visualize.save import save_figure

logger = logging.getLogger(__name__)

MOST_PICTURES = 12  # slides with the most left-out tiles
THUMBNAIL_PX = 1200


def write_quality(cohort: CohortGraphs, recipe: TileRecipe, folder: Path, note: str | None = None) -> None:
    """Write ``quality.csv`` and ``figures/quality/<slide>.png``; nothing if no tile was scored or left out.

    The table has one row per tile, used or left out, with its scores. Pictures show the slides with the most left-out
    tiles, at most `MOST_PICTURES`.

    Args:
        cohort: graph stores of the cohort.
        recipe: how the tiles were made.
        folder: output folder of the run.
        note: note for figures.
    """
    if not any(table.kept or table.left_out for table in cohort.quality):
        return
    names = next(table.names for table in cohort.quality if table.names)
    header = ["id", "x_px", "y_px", *names, "left_out"]
    write_whole(folder / "quality.csv", csv_text([header, *_rows(cohort, names)]).encode())
    logger.info("quality:    %s", folder / "quality.csv")
    slides = [
        (unit, table, path)
        for (unit, _), table, path in zip(cohort.done, cohort.quality, cohort.paths, strict=True)
        if unit in cohort.rows and table.left_out
    ]
    slides.sort(key=lambda slide: (-len(slide[1].left_out), slide[0]))
    for row_id, table, path in slides[:MOST_PICTURES]:
        _draw(cohort, row_id, table, path, recipe, folder / "figures" / "quality" / f"{safe_name(row_id)}.png", note)


def _rows(cohort: CohortGraphs, names: tuple[str, ...]) -> Iterator[list[object]]:
    unknown = (float("nan"),) * len(names)
    for path, table in zip(cohort.paths, cohort.quality, strict=True):
        store = GraphStore([path], tiles=False)
        for index in range(len(store)):
            info = store.tile_info(index)
            scores = table.kept[index] if table.kept else unknown
            yield [info.row_id, *info.location_px, *map(_shown, scores), ""]
        for tile in table.left_out:
            yield [tile.row_id, *tile.location_px, *map(_shown, tile.scores or unknown), tile.reason]


def _shown(score: float) -> str:
    return "" if np.isnan(score) else f"{score:.4g}"


def _draw(
    cohort: CohortGraphs, row_id: str, table: QualityTable, unit: Path, recipe: TileRecipe, path: Path, note: str | None
) -> None:
    store, row = GraphStore([unit], tiles=False), cohort.rows[row_id]
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        thumbnail, downsample = slide.thumbnail(THUMBNAIL_PX)
        side_px = recipe.tile_spec.size_px * slide.downsample_at(recipe.tile_spec.mpp)
    kept = np.array([store.tile_info(index).location_px for index in range(len(store))])
    places = {
        reason: np.array([tile.location_px for tile in table.left_out if tile.reason == reason]).reshape(-1, 2)
        for reason in ("mask", *REASONS)
    }
    title = f"{row.image.name}: {len(table.left_out)} of {len(store) + len(table.left_out)} tiles left out"
    save_figure(quality_figure(thumbnail, downsample, side_px, kept, places, title, note), path)
