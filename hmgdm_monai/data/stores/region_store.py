"""Store of the tiles' region maps, in the order of the graph store: the regions that the dense pretext task pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.stores.ragged_store import RaggedStore
from hmgdm_monai.data.stores.ragged_unit import Field, StoredTile, write_ragged_unit

NO_REGION = 255  # value of pixels that belong to no region

_KIND = "region maps"
_REGIONS = Field("regions", "tile", "uint8", lambda tile: tile.regions)


@dataclass(frozen=True)
class TileRegions(StoredTile):
    """A region map to be written to a store; its graph is empty, because vertices and edges are in the graph store.

    Attributes:
        regions: region map, (1, S, S) uint8.
    """

    regions: np.ndarray


def tile_regions(regions: np.ndarray, row_id: str, location_px: tuple[int, int], mpp: float | None) -> TileRegions:
    """Wrap a region map with the position of its tile.

    Args:
        regions: region map, (1, S, S) uint8.
        row_id: id of its row in the manifest.
        location_px: (x, y) of its top-left corner in level-0 pixels.
        mpp: microns per pixel of the tile; None if unknown.

    Raises:
        ValueError: the map has another shape or type.
    """
    if regions.ndim != 3 or regions.shape[0] != 1 or regions.dtype != np.uint8:
        raise ValueError(f"a region map must be (1, S, S) uint8, not {regions.shape} {regions.dtype}")
    graph = EntityGraph(pos=torch.empty(0, 2), edge_index=torch.empty(2, 0, dtype=torch.int64))
    return TileRegions(graph, row_id, location_px, mpp, regions)


def write_region_unit(
    folder: Path | str,
    name: str,
    tiles: Iterable[TileRegions],
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Path:
    """Write the region maps of one unit, completely or not at all; an existing unit is kept.

    Args:
        folder: folder of the store.
        name: name of the unit, the same as in the graph store.
        tiles: region maps in the order of the graph store.
        settings: settings of the graph unit and of the prior.
        notes: lines about skipped input; read after the last tile.

    Returns:
        Path of the unit.

    Raises:
        InputError: the disk is full.
    """
    return write_ragged_unit(folder, name, tiles, settings, _KIND, (_REGIONS,), notes)


class RegionStore(RaggedStore):
    """The region maps of the tiles of many units, as one sequence in the order of their graph store.

    An item is (1, S, S) uint8: regions 0 to R - 1, or 255 for pixels that belong to no region. Arguments and errors are
    those of :class:`RaggedStore`.
    """

    kind = _KIND

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self._read(index, (_REGIONS,))["regions"])

    def notes(self) -> list[str]:
        """One line for each kind of skipped imported cells, and for each image without regions."""
        return [note for unit in self.units for note in unit.notes]
