"""Entity graphs whose windows are cut from degraded tiles: further views of the same entities."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.graph_store import GraphStore
from hmgdm_monai.transforms.degrade import RandDegrade
from hmgdm_monai.transforms.entity_graph import add_windows


class DegradedGraphs(Dataset):
    """The graphs of a store with windows of degraded tiles, turned; superpixels stay those of the tiles as they came.

    All windows of a tile are turned or flipped alike, in one of eight ways, each about its own centre: tissue has no up
    and down. Places and neighbours stay, too.

    How a tile is degraded and turned depends on the view, the tile's place in the cohort (row and location) and the
    settings alone, so that views are the same whenever and by whatever process they are made.

    Args:
        paths: units of a graph store.
        degrade: how. It is seeded anew for each tile.
        view: number of the view, from 1.
        window_px: side of the windows.
        edge_windows: whether edges get windows, too.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        degrade: RandDegrade,
        view: int,
        window_px: int = 32,
        edge_windows: bool = True,
    ) -> None:
        self.topology = GraphStore(paths, windows=False)
        self.degrade, self.view, self.window_px, self.edge_windows = degrade, view, window_px, edge_windows

    def __len__(self) -> int:
        return len(self.topology)

    def __getitem__(self, index: int) -> EntityGraph:
        info = self.topology.tile_info(index)
        seed = zlib.crc32(f"{self.view} {info.row_id} {info.location_px}".encode())
        self.degrade.set_random_state(seed)
        image = np.ascontiguousarray(self.topology.image(index).transpose(2, 0, 1))
        with torch.inference_mode():
            image = self.degrade(image)
        graph = add_windows(self.topology[index], image, self.window_px, self.edge_windows)
        turns, flipped = divmod(int(np.random.default_rng(seed).integers(8)), 2)
        for name in [name for name in ("vertex_windows", "edge_windows") if name in graph]:
            windows = torch.rot90(graph[name], turns, (2, 3))
            graph[name] = windows.flip(3) if flipped else windows
        return graph
