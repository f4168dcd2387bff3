"""Read tiles of slides and plain images in batches of samples for an encoder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import Slide, open_slide
from hmgdm_monai.data.stores.quality_table import format_left_out
from hmgdm_monai.data.tiles.row_cells import RowCells
from hmgdm_monai.data.tiles.row_locations import row_locations
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.graph_unit import UNUSABLE, no_cells, reason_of, thin
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.entity_cutter import NoEntitiesError
from hmgdm_monai.transforms.quality import LeftOutTileError

logger = logging.getLogger(__name__)


def stream_slide(
    row: ManifestRow, recipe: TileRecipe, to_sample: Callable[..., Data], batch_tiles: int = 32, num_workers: int = 0
) -> Iterator[tuple[Batch, np.ndarray, dict[str, Any]]]:
    """Yield the tiles of a slide in batches; tiles without an entity or beyond the quality limits are skipped.

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
        InputError: the slide is unreadable, has no mpp, no tissue or no entity, its file of cells cannot be used, or
            all of its tiles are left out.
    """
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        spec = recipe.tile_spec
        masked: list[tuple[int, int]] = []
        locations = row_locations(slide, row, spec, recipe.mask, masked)
        locations = thin(locations, recipe.max_tiles, recipe.seed, row.id)
        left_out = Counter({"mask": len(masked)} if masked else {})
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
            left_out.update(batch[2])
            if samples is not None:
                yield samples, where, dict(about)
        tiles = len(locations) + len(masked)
        empty = tiles - found - left_out.total()
        if not found:
            why = format_left_out(left_out, tiles) if left_out else no_cells(empty, tiles)
            raise InputError(f"{slide.path}: {why}")
        if empty:
            logger.warning("%s: %s", row.id, no_cells(empty, tiles))
        if left_out:
            logger.warning("%s: %s", row.id, format_left_out(dict(left_out.most_common()), tiles))


class _SlideTiles(Dataset):
    """Batches of a slide's tiles: samples (None if there are none), their locations, and reasons of left-out tiles.

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

    def __getitem__(self, number: int) -> tuple[Batch | None, np.ndarray, dict[str, int]] | InputError | MemoryError:
        if number >= len(self):
            raise IndexError(number)
        part = self.locations[number * self.batch_tiles : (number + 1) * self.batch_tiles]
        try:
            pixels = self.slide.read_regions(part, self.spec.size_px, self.spec.mpp)
            samples, where, left_out = _samples(pixels, part, self.to_sample, self.cells)
        except UNUSABLE as error:
            return error
        return Batch.from_data_list(samples) if samples else None, where, dict(left_out)


def _samples(
    pixels: np.ndarray, locations: np.ndarray, to_sample: Callable[..., Data], cells: RowCells | None
) -> tuple[list[Data], np.ndarray, Counter[str]]:
    """Return samples of tiles (N, S, S, 3), their locations, and the number of left-out tiles of each reason.

    Tiles without an entity are skipped.
    """
    samples, kept = [], []
    left_out: Counter[str] = Counter()
    for number, (image, location) in enumerate(zip(pixels, locations.tolist(), strict=True)):
        known = {} if cells is None else {"outlines": cells.outlines(location, len(image))}
        try:
            samples.append(to_sample(image.transpose(2, 0, 1), **known))
            kept.append(number)
        except NoEntitiesError:
            continue
        except LeftOutTileError as error:
            left_out[error.reason] += 1
    return samples, locations[kept], left_out


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
                    where = row_locations(image, row, spec, self.recipe.mask)
                    where = thin(where, self.recipe.max_tiles, self.recipe.seed, row.id)
                    cells = RowCells(image, row, spec.mpp) if self.recipe.reads_cells else None
                    pixels = image.read_regions(where, spec.size_px, spec.mpp)
                found, kept, left_out = _samples(pixels, where, self.to_sample, cells)
                if not found:
                    why = format_left_out(left_out, len(where)) if left_out else no_cells(len(where), len(where))
                    raise InputError(f"{row.image}: {why}")
            except UNUSABLE as error:
                faults[row.id] = reason_of(error, row)
                continue
            samples += found
            ids += [row.id] * len(kept)
            places.append(kept)
        if not samples:
            return None, [], np.empty((0, 2), np.int64), faults
        return Batch.from_data_list(samples), ids, np.concatenate(places), faults
