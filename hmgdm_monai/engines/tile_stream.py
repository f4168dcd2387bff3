"""Tiles of slides and of plain images as batches of samples for an encoder, read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.manifest import ManifestRow
from hmgdm_monai.data.row_locations import row_locations
from hmgdm_monai.data.slide import Slide, open_slide
from hmgdm_monai.engines.graph_unit import GraphRecipe, reason_of, thin
from hmgdm_monai.errors import InputError


def stream_slide(
    row: ManifestRow, recipe: GraphRecipe, to_sample: Callable[..., Data], batch_tiles: int = 32, num_workers: int = 0
) -> Iterator[tuple[Batch, np.ndarray, dict[str, Any]]]:
    """A slide's tiles, a batch at a time.

    Args:
        row: names the slide.
        recipe: size, scale and choice of tiles.
        to_sample: makes what the encoder takes of a tile; :attr:`TileEncoder.to_sample`.
        batch_tiles: B.
        num_workers: processes that work ahead, by two batches each.

    Yields:
        Samples of B tiles; their level-0 locations (B, 2); and of the slide: ``mpp`` and ``tile_size_px``
        of the tiles, ``tile_size_level0`` (side in level-0 px), ``level0_mpp`` (NaN where unknown),
        ``level0_width_px``, ``level0_height_px`` and ``tiles``, their number.

    Raises:
        InputError: the slide is unreadable, has no mpp or no tissue.
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
        dataset = _SlideTiles(slide, locations, recipe, to_sample, batch_tiles)
        for number, samples in enumerate(DataLoader(dataset, batch_size=None, num_workers=num_workers)):
            if isinstance(samples, InputError):
                raise samples
            yield samples, locations[number * batch_tiles : (number + 1) * batch_tiles], dict(about)


class _SlideTiles(Dataset):
    """Batches of a slide's tiles as samples; in place of a batch that cannot be read the InputError that says why.

    An exception that crosses from a worker process would lose its one line in a traceback.
    """

    def __init__(
        self, slide: Slide, locations: np.ndarray, recipe: GraphRecipe, to_sample: Callable[..., Data], batch_tiles: int
    ) -> None:
        self.slide, self.locations, self.spec = slide, locations, recipe.tile_spec
        self.to_sample, self.batch_tiles = to_sample, batch_tiles

    def __len__(self) -> int:
        return -(-len(self.locations) // self.batch_tiles)

    def __getitem__(self, number: int) -> Batch | InputError:
        if number >= len(self):
            raise IndexError(number)
        part = self.locations[number * self.batch_tiles : (number + 1) * self.batch_tiles]
        try:
            pixels = self.slide.read_regions(part, self.spec.size_px, self.spec.mpp)
        except InputError as error:
            return error
        return Batch.from_data_list([self.to_sample(image.transpose(2, 0, 1)) for image in pixels])


class PlainTiles(Dataset):
    """Batches of plain tiles: (samples, row ids, places, row id -> why it cannot be used)."""

    def __init__(
        self, rows: list[ManifestRow], recipe: GraphRecipe, to_sample: Callable[..., Data], batch_tiles: int
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
                    pixels = image.read_regions(where, spec.size_px, spec.mpp)
            except InputError as error:
                faults[row.id] = reason_of(error, row)
                continue
            samples += [self.to_sample(tile.transpose(2, 0, 1)) for tile in pixels]
            ids += [row.id] * len(where)
            places.append(where)
        if not samples:
            return None, [], np.empty((0, 2), np.int64), faults
        return Batch.from_data_list(samples), ids, np.concatenate(places), faults
