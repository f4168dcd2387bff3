"""Data of DiRL: tile images with their region maps, split by patient as for H-MGDM."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property

from torch.utils.data import Dataset
from torch_geometric.data import Data

from hmgdm_monai.data.stores.region_store import RegionStore
from hmgdm_monai.preparation.region_stores import build_region_stores
from hmgdm_monai.preparation.stored_samples import StoredImages
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData
from hmgdm_monai.transforms.cell_prior import RegionPrior

logger = logging.getLogger(__name__)


class ImageData:
    """Tiles and regions, made if missing; the tiles are in the graph stores that H-MGDM uses, too.

    Args:
        tiles: the cohort.
        prior: divides tiles into regions.
    """

    def __init__(self, tiles: PretrainingData, prior: RegionPrior) -> None:
        self.tiles, self.prior = tiles, prior

    def prepare(self) -> None:
        """Build missing graph stores and region stores, and check that patients can be held out."""
        self.tiles.prepare()
        _ = self.regions

    @cached_property
    def regions(self) -> RegionStore:
        """Region maps of all tiles, in the order of the graph stores; built if missing."""
        folder = self.tiles.store_dir / "regions"
        return RegionStore(
            build_region_stores(self.tiles.cohort, folder, self.prior, num_workers=self.tiles.num_workers)
        )

    @cached_property
    def images(self) -> StoredImages:
        """Images of all tiles."""
        return StoredImages(self.tiles.cohort.store(tiles=False))

    def with_regions(self, split: str) -> _TilesWithRegions:
        """Return tiles of a split with ``image`` (1, 3, S, S) and ``regions`` (1, 1, S, S), uint8.

        They are read on access: a config builds its data sets before the stores exist.

        Args:
            split: "training" or "validation".
        """
        return _TilesWithRegions(self, self.tiles.tile_indices(split))


class _TilesWithRegions(Dataset):
    def __init__(self, data: ImageData, indices: Sequence[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Data:
        place = self.indices[index]
        sample = self.data.images[place]
        sample.regions = self.data.regions[place][None]
        return sample
