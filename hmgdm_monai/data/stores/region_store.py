"""Region maps of tiles on disk, beside the graph store and in its order: what the dense pretext task pools over."""

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

NO_REGION = 255  # pixels of a region map that belong to no region

_KIND = "region maps"
_REGIONS = Field("regions", "tile", "uint8", lambda tile: tile.regions)


@dataclass(frozen=True)
class TileRegions(StoredTile):
    """A region map on its way into a store; its graph has neither vertices nor edges, those are in the graph store.

    Attributes:
        regions: (1, S, S) uint8.
    """

    regions: np.ndarray


def tile_regions(regions: np.ndarray, row_id: str, location_px: tuple[int, int], mpp: float | None) -> TileRegions:
    """A region map (1, S, S) uint8 with the place of its tile.

    Raises:
        ValueError: another shape or type.
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
    """Write the region maps of one unit, whole or not at all; a unit that stands already is left as it is.

    Args:
        folder: of the store.
        name: of the unit, that of the graph store.
        tiles: in the order of the graph store.
        settings: the graph unit's, and the prior's.
        notes: lines on what was not taken; read after the last tile.

    Returns:
        Path of the unit.

    Raises:
        InputError: the disk is full.
    """
    return write_ragged_unit(folder, name, tiles, settings, _KIND, (_REGIONS,), notes)


class RegionStore(RaggedStore):
    """Region maps of the tiles of many units, as one sequence in the order of their graph store.

    An item is (1, S, S) uint8: 0 to R - 1, or 255 where a pixel belongs to no region. Arguments and errors are those of
    :class:`RaggedStore`.
    """

    kind = _KIND

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self._read(index, (_REGIONS,))["regions"])

    def notes(self) -> list[str]:
        """What of imported cells was not taken, and images left without regions: one line each."""
        return [note for unit in self.units for note in unit.notes]
