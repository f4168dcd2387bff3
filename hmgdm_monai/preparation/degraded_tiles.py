"""Degraded and rotated tiles of a store: further views of the same entities."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.manifest.manifest import base_name
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.transforms.degrade import RandDegrade


class DegradedTiles(Dataset):
    """The graphs of a store with degraded and rotated tiles; the entities stay those of the original tiles.

    A tile is rotated or flipped in one of eight ways, together with its label map and positions, because tissue has no
    preferred orientation. Vertices and edges keep their order, so latents of a view belong to the same entities.

    Degradation and rotation depend only on the view, the position of the tile in the cohort (row and location) and the
    settings. So the views are always the same, in every process.

    Args:
        paths: files of the units of a graph store.
        degrade: degrades the tiles; its seed is set for each tile.
        view: number of the view, from 1.
    """

    def __init__(self, paths: Sequence[Path | str], degrade: RandDegrade, view: int) -> None:
        self.store = GraphStore(paths)
        self.degrade, self.view = degrade, view

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> EntityGraph:
        info = self.store.tile_info(index)
        seed = zlib.crc32(f"{self.view} {base_name(info.row_id)} {info.location_px}".encode())
        self.degrade.set_random_state(seed)
        graph = self.store[index]
        with torch.inference_mode():
            graph.image = torch.from_numpy(np.array(self.degrade(graph.image[0].numpy())))[None]
        turns, flipped = divmod(int(np.random.default_rng(seed).integers(8)), 2)
        return turn_tile(graph, turns, bool(flipped))


def turn_tile(graph: EntityGraph, turns: int, flipped: bool) -> EntityGraph:
    """Rotate and flip a tile with its label map and positions, in place.

    Args:
        graph: one graph with ``image`` and ``label_map`` of a square tile.
        turns: number of counterclockwise quarter turns.
        flipped: mirror left and right after the rotation.
    """
    image, label_map = (torch.rot90(one, turns, (-2, -1)) for one in (graph.image, graph.label_map))
    x, y = graph.pos.unbind(1)
    for _ in range(turns % 4):
        x, y = y, 1 - x
    if flipped:
        image, label_map, x = image.flip(-1), label_map.flip(-1), 1 - x
    graph.image, graph.label_map = image.contiguous(), label_map.contiguous()
    graph.pos = torch.stack((x, y), dim=1)
    return graph
