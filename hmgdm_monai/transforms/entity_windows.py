"""Cut windows around the entities of a batch of graphs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.transforms.entity_graph import cut_windows, window_centers_px


def graph_windows(graph: EntityGraph, window_px: int, edges: bool = True) -> tuple[Tensor, Tensor | None]:
    """Cut the windows of a graph, or of a batch of graphs, from its tiles, on the CPU.

    The window of a vertex is centered on its centroid, that of an edge on the midpoint of its two ends.

    Args:
        graph: graph with ``image`` (B, 3, S, S) uint8, ``pos`` (V, 2) and ``edge_index`` (2, E).
        window_px: side w of a window in px.
        edges: whether to cut windows of edges too.

    Returns:
        Windows of vertices (V, 3, w, w) uint8, and of edges (E, 3, w, w) or None.
    """
    images = graph.image.cpu().numpy()
    vertices, middles = window_centers_px(graph.pos.cpu(), graph.edge_index.cpu(), *images.shape[2:])
    cut = _cut_all(images, vertices, graph.vertex_batch, window_px)
    return cut, _cut_all(images, middles, graph.edge_batch, window_px) if edges else None


def _cut_all(images: np.ndarray, centers_px: np.ndarray, batch: Tensor, window_px: int) -> Tensor:
    """Cut windows (N, 3, w, w) around centers (N, 2); ``batch`` (N,) is the index of the tile of each center."""
    tiles = batch.cpu().numpy()
    windows = np.empty((len(tiles), 3, window_px, window_px), np.uint8)
    for tile, image in enumerate(images):
        chosen = np.flatnonzero(tiles == tile)
        windows[chosen] = cut_windows(image.transpose(1, 2, 0), centers_px[chosen], window_px)
    return torch.from_numpy(windows)
