"""Windows around entities: on their centers, of their own tile, flipped with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.entity_windows import graph_windows
from hmgdm_monai.transforms.superpixels import Superpixels


def squares(height: int, width: int, side: int) -> np.ndarray:
    """(1, H, W) int32, squares of ``side`` px, cut off at the end."""
    rows, columns = np.arange(height)[:, None] // side, np.arange(width) // side
    return (rows * (-(-width // side)) + columns).astype(np.int32)[None]


def random_graph(height: int, width: int, side: int, seed: int = 0) -> EntityGraph:
    tile = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    return build_entity_graph(tile, squares(height, width, side))


@pytest.mark.parametrize("window_px", [1, 2, 7, 31, 32])
def test_windows_are_centered_on_centroids_and_midpoints(window_px: int) -> None:
    height, width = 150, 200
    y, x = np.mgrid[:height, :width]
    coordinates = np.stack([x, y, np.zeros_like(x)]).astype(np.uint8)  # column in red, row in green
    graph = build_entity_graph(coordinates, squares(height, width, 23))
    for centers, windows in zip((graph.pos, graph.edge_pos), graph_windows(graph, window_px), strict=True):
        assert windows.shape[1:] == (3, window_px, window_px) and windows.dtype == torch.uint8
        places = centers.double() * torch.tensor([width, height])
        inside = ((places > window_px) & (places < torch.tensor([width, height]) - window_px)).all(dim=1)
        assert inside.sum() > 5
        # Mean of the coordinates of all pixels of a window: the middle of the window, in the pixel center convention.
        middle = windows[inside][:, :2].double().mean(dim=(2, 3)) + 0.5
        assert (middle - places[inside]).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize(("side", "window_px"), [(9, 32), (9, 9), (7, 15), (5, 4)])  # the last: all starts are halves
def test_windows_of_a_flipped_tile_are_the_flipped_windows(axis: int, side: int, window_px: int) -> None:
    graph = random_graph(20, 30, side)
    image, labels = graph.image[0].numpy(), graph.label_map.numpy()
    flipped = build_entity_graph(np.flip(image, axis), np.flip(labels, axis))
    for ours, theirs in zip(graph_windows(graph, window_px), graph_windows(flipped, window_px), strict=True):
        assert torch.equal(theirs, ours.flip(axis))


def test_in_a_batch_each_entity_has_the_window_of_its_own_tile() -> None:
    blank = np.full((3, 20, 24), 90, np.uint8)
    graphs = [random_graph(20, 24, 6, 1), build_entity_graph(blank, Superpixels()(blank)), random_graph(20, 24, 9, 2)]
    assert graphs[1].edge_index.shape == (2, 0)
    together = graph_windows(Batch.from_data_list(graphs), 8)
    alone = [graph_windows(graph, 8) for graph in graphs]
    for kind in (0, 1):
        assert torch.equal(together[kind], torch.cat([windows[kind] for windows in alone]))


def test_edges_have_none_where_none_are_wanted() -> None:
    graph = random_graph(20, 24, 6)
    vertices, edges = graph_windows(graph, 8, edges=False)
    assert edges is None and torch.equal(vertices, graph_windows(graph, 8)[0])


def test_a_tile_may_be_smaller_than_a_window() -> None:
    vertices, _ = graph_windows(random_graph(10, 12, 5), 32)
    assert vertices.shape == (6, 3, 32, 32)
