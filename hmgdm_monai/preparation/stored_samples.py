"""The tiles of a cohort, prepared for an encoder and read from stores on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch.utils.data import Dataset
from torch_geometric.data import Data

from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.encoders.tile_sample import image_sample
from hmgdm_monai.preparation.cohort import CohortGraphs
from hmgdm_monai.preparation.encode import encode_stores


class Samples(Protocol):
    """A sequence of prepared samples that are read from disk one by one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Data: ...


class StoredImages(Dataset):
    """Images of the tiles of a graph store, as samples.

    Args:
        store: store of the tiles.
    """

    def __init__(self, store: GraphStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Data:
        return image_sample(torch.from_numpy(self.store.image(index).transpose(2, 0, 1).copy()))


def stored_samples(
    encoder: TileEncoder,
    cohort: CohortGraphs,
    latents_dir: Path,
    device: torch.device | str = "cpu",
) -> Samples:
    """Return all tiles of a cohort, prepared, in the order of its stores; missing ones are computed and stored first.

    Args:
        encoder: its frozen part prepares the tiles. If it has none, images are read from the graph stores.
        cohort: the tiles.
        latents_dir: folder of the latent stores, for an encoder of graphs.
        device: device of the encoder.
    """
    if isinstance(encoder, GraphTileEncoder):
        return LatentStore(encode_stores(encoder.entities, cohort.paths, latents_dir, device=device))
    return StoredImages(cohort.store(tiles=False))
