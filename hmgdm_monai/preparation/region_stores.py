"""From graph stores to region stores: the cell prior divides every tile into regions once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.ragged_unit import unit_path
from hmgdm_monai.data.stores.region_store import NO_REGION, RegionStore, TileRegions, tile_regions, write_region_unit
from hmgdm_monai.data.tiles.cell_maps import CellMapError
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.cohort import CohortGraphs
from hmgdm_monai.preparation.processes import raise_if_stopped, run_all
from hmgdm_monai.transforms.cell_prior import RegionPrior

logger = logging.getLogger(__name__)

_NONE = "no regions for"  # start of the note of an image without regions


@dataclass(frozen=True)
class RegionUnit:
    """The planned content of one file of the region store.

    Attributes:
        graph_path: file of the unit in the graph store.
        name: name of the unit.
        rows: row id -> row of its images.
        folder: folder of the region store.
        prior: makes the regions.
        settings: settings of the graph unit and of the prior.
    """

    graph_path: Path
    name: str
    rows: dict[str, ManifestRow]
    folder: Path
    prior: RegionPrior
    settings: dict[str, Any]

    @property
    def path(self) -> Path:
        """Path of the file of the unit."""
        return unit_path(self.folder, self.name, self.settings)


def build_region_stores(
    cohort: CohortGraphs,
    folder: str | os.PathLike[str],
    prior: RegionPrior,
    num_workers: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Make the region maps of all tiles of a cohort, each once.

    Each unit of the graph store becomes one file, written completely or not at all. Its name depends on the settings of
    its graphs and of the prior, imported files included. So an interrupted run resumes with the first missing unit, and
    another prior makes another file. A damaged file is made again. Images and superpixels are read from the graph
    store, at the scale of its tiles.

    If the imported cells of an image cannot be used, its tiles keep their place with region maps of 255 everywhere, so
    that both stores have the same order. Such images, and invalid outlines in a file of cells, are logged as warnings,
    one line each, and kept in the store: see :meth:`~hmgdm_monai.data.stores.region_store.RegionStore.notes`.

    Args:
        cohort: graph stores of the cohort.
        folder: folder of the region store; created if missing.
        prior: divides tiles into regions.
        num_workers: number of processes, each of which makes one unit at a time; 0 works in this process. The result is
            the same.
        progress: show a progress bar over units on stderr.

    Returns:
        The files, in the order of `cohort.paths`.

    Raises:
        InputError: a graph unit cannot be read, the prior does not support the scale of the tiles, the cells of no
            image can be used (one message with one line per reason), or the disk is full.
    """
    if num_workers < 0:
        raise InputError(f"regions: num_workers must be at least 0, not {num_workers}")
    units = [_plan(path, cohort.rows, Path(folder), prior) for path in cohort.paths]
    waiting = [unit for unit in units if not _stands(unit)]
    with (
        tqdm(
            total=len(units), initial=len(units) - len(waiting), desc="region maps", unit="unit", disable=not progress
        ) as bar,
        closing(run_all(build_region_unit, waiting, num_workers)) as results,
    ):
        for _ in results:
            bar.update()
    paths = [unit.path for unit in units]
    _tell(RegionStore(paths))
    return paths


def build_region_unit(unit: RegionUnit) -> None:
    """Make the file of a unit, completely or not at all.

    Args:
        unit: unit to make.

    Raises:
        InputError: the graph unit cannot be read, the prior does not support its scale, or the disk is full.
    """
    unit.path.unlink(missing_ok=True)
    notes: list[str] = []
    write_region_unit(unit.folder, unit.name, _regions(unit, notes), unit.settings, notes)


def _plan(graph_path: Path, rows: dict[str, ManifestRow], folder: Path, prior: RegionPrior) -> RegionUnit:
    store = GraphStore([graph_path], tiles=False)
    (graphs,) = store.units
    ids = dict.fromkeys(store.tile_info(index).row_id for index in graphs.tiles)
    theirs = {row_id: rows[row_id] for row_id in ids}
    settings = {"graph": graphs.settings, "regions": prior.settings(list(theirs.values()))}
    return RegionUnit(Path(graph_path), graphs.name, theirs, folder, prior, settings)


def _stands(unit: RegionUnit) -> bool:
    """Return whether the file exists and its tables are complete."""
    if not unit.path.exists():
        return False
    try:
        RegionStore([unit.path])
    except InputError:
        return False
    return True


def _regions(unit: RegionUnit, notes: list[str]) -> Iterator[TileRegions]:
    """Yield the region maps of a unit's tiles in their order, and add to `notes`."""
    store = GraphStore([unit.graph_path], tiles=False)
    tile_mpp = float(store.units[0].settings["tile"]["mpp"])
    without: set[str] = set()
    seen: set[str] = set()
    for index in range(len(store)):
        raise_if_stopped()
        info = store.tile_info(index)
        row = unit.rows[info.row_id]
        image = store.image(index).transpose(2, 0, 1)
        regions = np.full((1, *image.shape[1:]), NO_REGION, np.uint8)
        if row.id not in without:
            try:
                if row.id not in seen:
                    seen.add(row.id)
                    notes += unit.prior.notes(row)
                # A plain image of unknown scale is assumed to have the scale of the tiles.
                found = unit.prior(image, store.superpixels(index), info.mpp or tile_mpp, row, info.location_px)
                regions = np.asarray(found)
            except CellMapError as error:
                without.add(row.id)
                notes.append(f"{_NONE} {row.id}: {error}")
        yield tile_regions(regions, info.row_id, info.location_px, info.mpp)


def _tell(store: RegionStore) -> None:
    """Log the notes of the store.

    Raises:
        InputError: no image has regions.
    """
    notes = store.notes()
    without = [note for note in notes if note.startswith(_NONE)]
    images = {store.tile_info(index).row_id for index in range(len(store))}
    if without and len(without) == len(images):
        raise InputError("\n".join(["regions: no image of the cohort has cells that can be used:", *without]))
    for note in notes:
        logger.warning(note)
    if without:
        logger.warning("%d of %d images have no regions; the dense task skips them", len(without), len(images))
