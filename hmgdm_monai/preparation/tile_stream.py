"""Read tiles of slides and plain images in batches of samples for an encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import Slide, open_slide
from hmgdm_monai.data.tiles.row_cells import RowCells
from hmgdm_monai.data.tiles.row_locations import row_locations
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.graph_unit import UNUSABLE, no_cells, reason_of, thin
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.entity_cutter import NoEntitiesError

logger = logging.getLogger(__name__)


def stream_slide(
    row: ManifestRow, recipe: TileRecipe, to_sample: Callable[..., Data], batch_tiles: int = 32, num_workers: int = 0
) -> Iterator[tuple[Batch, np.ndarray, dict[str, Any]]]:
    """Yield the tiles of a slide in batches; tiles without an entity are skipped.

    Args:
        row: row of the slide.
        recipe: size, scale and choice of tiles.
        to_sample: turns a tile into the input of the encoder; :attr:`TileEncoder.to_sample`.
        batch_tiles: B, maximum number of tiles per batch.
        num_workers: number of processes that read in advance, two batches each.

    Yields:
        Samples of at most B tiles; their level-0 locations (B, 2); and properties of the slide: ``mpp`` and
        ``tile_size_px`` of the tiles, ``tile_size_level0`` (side in level-0 px), ``level0_mpp`` (NaN if unknown),
        ``level0_width_px``, ``level0_height_px`` and ``tiles``, the number of tiles.

    Raises:
        InputError: the slide is unreadable, has no mpp, no tissue or no entity, or its file of cells cannot be used.
    """
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        spec = recipe.tile_spec
        locations = thin(row_locations(slide, row, spec), recipe.max_tiles, recipe.seed, row.id)
        about = {
            "mpp": float(spec.mpp),
            "tile_size_px": int(spec.size_px),
            "tile_size_level0": float(spec.size_px * slide.downsample_at(spec.mpp)),
            "level0_mpp": float("nan") if slide.mpp is None else float(slide.mpp),
            "level0_width_px": int(slide.dimensions_px[0]),
            "level0_height_px": int(slide.dimensions_px[1]),
            "tiles": len(locations),
        }
        cells = RowCells(slide, row, spec.mpp) if recipe.reads_cells else None
        dataset, found = _SlideTiles(slide, locations, recipe, to_sample, batch_tiles, cells), 0
        for batch in DataLoader(dataset, batch_size=None, num_workers=num_workers):
            if isinstance(batch, UNUSABLE):
                raise batch
            samples, where = batch[0], np.asarray(batch[1])  # the data loader converts it to a tensor
            found += len(where)
            if samples is not None:
                yield samples, where, dict(about)
        if not found:
            raise InputError(f"{slide.path}: {no_cells(len(locations), len(locations))}")
        if found < len(locations):
            logger.warning("%s: %s", row.id, no_cells(len(locations) - found, len(locations)))


class _SlideTiles(Dataset):
    """Batches of a slide's tiles: samples (None if there are none), and the locations of the tiles with an entity.

    A batch that cannot be read is replaced by the error with the reason. If a worker process raised it, the message
    would be hidden in a traceback.
    """

    def __init__(
        self,
        slide: Slide,
        locations: np.ndarray,
        recipe: TileRecipe,
        to_sample: Callable[..., Data],
        batch_tiles: int,
        cells: RowCells | None,
    ) -> None:
        self.slide, self.locations, self.spec, self.cells = slide, locations, recipe.tile_spec, cells
        self.to_sample, self.batch_tiles = to_sample, batch_tiles

    def __len__(self) -> int:
        return -(-len(self.locations) // self.batch_tiles)

    def __getitem__(self, number: int) -> tuple[Batch | None, np.ndarray] | InputError | MemoryError:
        if number >= len(self):
            raise IndexError(number)
        part = self.locations[number * self.batch_tiles : (number + 1) * self.batch_tiles]
        try:
            pixels = self.slide.read_regions(part, self.spec.size_px, self.spec.mpp)
            samples, where = _samples(pixels, part, self.to_sample, self.cells)
        except UNUSABLE as error:
            return error
        return Batch.from_data_list(samples) if samples else None, where


def _samples(
    pixels: np.ndarray, locations: np.ndarray, to_sample: Callable[..., Data], cells: RowCells | None
) -> tuple[list[Data], np.ndarray]:
    """Return samples of tiles (N, S, S, 3) and their locations; tiles without an entity are skipped."""
    samples, kept = [], []
    for number, (image, location) in enumerate(zip(pixels, locations.tolist(), strict=True)):
        known = {} if cells is None else {"outlines": cells.outlines(location, len(image))}
        try:
            samples.append(to_sample(image.transpose(2, 0, 1), **known))
            kept.append(number)
        except NoEntitiesError:
            continue
    return samples, locations[kept]


class PlainTiles(Dataset):
    """Batches of plain tiles: (samples, row ids, locations, row id -> reason why it cannot be used)."""

    def __init__(
        self, rows: list[ManifestRow], recipe: TileRecipe, to_sample: Callable[..., Data], batch_tiles: int
    ) -> None:
        self.rows, self.recipe, self.to_sample, self.batch_tiles = rows, recipe, to_sample, batch_tiles

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_tiles)

    def __getitem__(self, number: int) -> tuple[Batch | None, list[str], np.ndarray, dict[str, str]]:
        if number >= len(self):
            raise IndexError(number)
        samples, ids, places, faults = [], [], [], {}
        for row in self.rows[number * self.batch_tiles : (number + 1) * self.batch_tiles]:
            try:
                with closing(open_slide(row.image, mpp=row.mpp)) as image:
                    spec = self.recipe.tile_spec
                    where = thin(row_locations(image, row, spec), self.recipe.max_tiles, self.recipe.seed, row.id)
                    cells = RowCells(image, row, spec.mpp) if self.recipe.reads_cells else None
                    pixels = image.read_regions(where, spec.size_px, spec.mpp)
                found, kept = _samples(pixels, where, self.to_sample, cells)
                if not found:
                    raise InputError(f"{row.image}: {no_cells(len(where), len(where))}")
            except UNUSABLE as error:
                faults[row.id] = reason_of(error, row)
                continue
            samples += found
            ids += [row.id] * len(kept)
            places.append(kept)
        if not samples:
            return None, [], np.empty((0, 2), np.int64), faults
        return Batch.from_data_list(samples), ids, np.concatenate(places), faults
