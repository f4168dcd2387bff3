"""The entity graph: windows stand on their centres, flips carry over, odd tiles work, PyG batches it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch_geometric.loader import DataLoader

from hmgdm_monai.data.entity_graph import EntityGraph, entity_windows
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import (
    BuildEntityGraph,
    BuildEntityGraphd,
    add_windows,
    build_entity_graph,
    cut_windows,
    window_centres_px,
)
from hmgdm_monai.transforms.region_adjacency import number_by_first_pixel
from hmgdm_monai.transforms.superpixels import Superpixels, Superpixelsd


def random_tile(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def random_map(height: int, width: int, n_labels: int, seed: int = 0) -> np.ndarray:
    """(1, H, W) int32, cells around random points."""
    points = np.random.default_rng(seed).uniform(0, (height, width), (n_labels, 2))
    y, x = np.mgrid[:height, :width] + 0.5
    nearest = ((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).argmin(axis=-1)
    return number_by_first_pixel(nearest)[None]


def coordinate_tile(height: int, width: int) -> np.ndarray:
    """(3, H, W) uint8: column in red, row in green."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)]).astype(np.uint8)


@pytest.mark.parametrize("window_px", [1, 2, 7, 31, 32])
def test_windows_are_centred_on_centroids_and_midpoints(window_px: int) -> None:
    height, width = 150, 200
    graph = build_entity_graph(coordinate_tile(height, width), random_map(height, width, 40), window_px)
    centroids = graph.pos.double() * torch.tensor([width, height])
    midpoints = graph.edge_pos.double() * torch.tensor([width, height])
    for centres, windows in ((centroids, graph.vertex_windows), (midpoints, graph.edge_windows)):
        inside = ((centres > window_px) & (centres < torch.tensor([width, height]) - window_px)).all(dim=1)
        assert inside.sum() > 5
        # Mean of the coordinates of all pixels of a window: the middle of the window, in the pixel centre convention.
        middle = windows[inside][:, :2].double().mean(dim=(2, 3)) + 0.5
        assert (middle - centres[inside]).abs().max() <= 0.5 + 1e-3


def test_even_windows_lie_as_documented() -> None:
    tile = coordinate_tile(64, 64).transpose(1, 2, 0)
    windows = cut_windows(tile, np.array([[16.0, 16.0], [16.4, 40.6], [16.5, 47.5]]), 32)
    assert windows[:, 0, 0, 0].tolist() == [0, 0, 1]  # 0.5 goes up, towards the middle of the tile
    assert windows[:, 1, 0, 0].tolist() == [0, 25, 31]  # 31.5 goes down, towards the middle too


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    size=st.integers(1, 50),
    seed=st.integers(0, 100),
    data=st.data(),
)
def test_windows_equal_crops_of_the_padded_tile(
    height: int, width: int, size: int, seed: int, data: st.DataObject
) -> None:
    """Oracle: numpy's own mirrored padding; windows larger than the tile and outside it included."""
    x = data.draw(st.integers(-20, width + 20))
    y = data.draw(st.integers(-20, height + 20))
    tile = random_tile(height, width, seed).transpose(1, 2, 0)
    centre = np.array([[x + size / 2, y + size / 2]])  # the window starts at exactly (x, y)
    room = 80
    padded = np.pad(tile, ((room, room), (room, room), (0, 0)), mode="reflect")
    expected = padded[y + room : y + room + size, x + room : x + room + size].transpose(2, 0, 1)
    assert np.array_equal(cut_windows(tile, centre, size)[0], expected)


def test_edges_stand_once_sorted() -> None:
    graph = build_entity_graph(random_tile(60, 70), random_map(60, 70, 25))
    first, second = graph.edge_index
    assert (first < second).all()
    keys = first * 25 + second
    assert (keys.diff() > 0).all()
    assert graph.edge_index.dtype == torch.int64
    assert graph.vertex_windows.shape == (25, 3, 32, 32)
    assert graph.edge_windows.shape == (graph.edge_index.shape[1], 3, 32, 32)
    assert graph.edge_windows.dtype == graph.vertex_windows.dtype == torch.uint8
    assert graph.validate()


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize(("shape", "window_px"), [((64, 96), 32), ((64, 96), 9), ((45, 61), 15), ((20, 24), 32)])
def test_a_flipped_tile_gives_the_flipped_graph(axis: int, shape: tuple[int, int], window_px: int) -> None:
    tile, labels = random_tile(*shape), random_map(*shape, 20)
    graph = build_entity_graph(tile, labels, window_px)
    flipped = build_entity_graph(np.flip(tile, axis), np.flip(labels, axis), window_px)
    coordinate = 0 if axis == -1 else 1
    expected = graph.pos.clone()
    expected[:, coordinate] = 1 - expected[:, coordinate]
    assert torch.allclose(flipped.pos, expected, atol=1e-7)
    assert torch.equal(flipped.edge_index, graph.edge_index)
    assert torch.equal(flipped.vertex_windows, graph.vertex_windows.flip(axis))
    assert torch.equal(flipped.edge_windows, graph.edge_windows.flip(axis))


def test_a_grid_of_cells_flips_exactly_where_centres_fall_between_pixels() -> None:
    """Cells of 5 px under windows of 4: every corner of a window falls on a half, and halves go to the middle."""
    labels = np.kron(np.arange(24, dtype=np.int32).reshape(4, 6), np.ones((5, 5), np.int32))[None]
    tile = random_tile(20, 30)
    graph = build_entity_graph(tile, labels, 4)
    flipped = build_entity_graph(tile[..., ::-1], labels[..., ::-1], 4)
    assert torch.equal(flipped.vertex_windows, graph.vertex_windows.flip(-1))
    assert torch.equal(flipped.edge_windows, graph.edge_windows.flip(-1))


def test_one_colour_is_one_vertex_without_edges() -> None:
    tile = np.full((3, 256, 256), 230, np.uint8)
    graph = build_entity_graph(tile, Superpixels()(tile))
    assert graph.pos.tolist() == [[0.5, 0.5]]
    assert graph.edge_index.shape == (2, 0)
    assert graph.edge_index.dtype == torch.int64
    assert graph.edge_windows.shape == (0, 3, 32, 32)
    assert graph.edge_windows.dtype == torch.uint8
    assert graph.validate()
    batch = next(iter(DataLoader([graph, graph], batch_size=2)))
    assert batch.edge_windows.shape == (0, 3, 32, 32)


def test_a_tile_smaller_than_the_window() -> None:
    tile = random_tile(10, 12)
    graph = build_entity_graph(tile, Superpixels(n_segments=4)(tile), window_px=32)
    assert graph.num_vertices > 1
    assert graph.vertex_windows.shape[1:] == (3, 32, 32)


def test_a_graph_stored_without_windows_gets_the_same_ones_back() -> None:
    for seed in range(5):
        tile, labels = random_tile(256, 200, seed), random_map(256, 200, 50, seed)
        whole = build_entity_graph(tile, labels)
        bare = build_entity_graph(tile, labels, windows=False)
        assert "vertex_windows" not in bare
        again = add_windows(EntityGraph(pos=bare.pos, edge_index=bare.edge_index), tile)
        assert torch.equal(again.vertex_windows, whole.vertex_windows)
        assert torch.equal(again.edge_windows, whole.edge_windows)


def test_without_windows_of_edges_those_of_vertices_stay_as_they_are() -> None:
    for seed in range(3):
        tile, labels = random_tile(64, 80, seed), random_map(64, 80, 12, seed)
        whole = build_entity_graph(tile, labels, 16)
        for graph in (
            build_entity_graph(tile, labels, 16, edge_windows=False),
            BuildEntityGraph(16, edge_windows=False)(tile, labels),
            add_windows(build_entity_graph(tile, labels, windows=False), tile, 16, edge_windows=False),
        ):
            assert "edge_windows" not in graph and torch.equal(graph.edge_index, whole.edge_index)
            assert torch.equal(graph.vertex_windows, whole.vertex_windows)
            assert torch.equal(entity_windows(graph), whole.vertex_windows)
        assert torch.equal(entity_windows(whole), torch.cat((whole.vertex_windows, whole.edge_windows)))


def test_window_centres_of_edges_are_midway() -> None:
    pos = torch.tensor([[0.25, 0.5], [0.75, 1.0]])
    vertices, edges = window_centres_px(pos, torch.tensor([[0], [1]]), height=10, width=20)
    assert vertices.tolist() == [[5.0, 5.0], [15.0, 10.0]]
    assert edges.tolist() == [[10.0, 7.5]]


def test_containers_do_not_matter() -> None:
    tile, labels = random_tile(64, 64), random_map(64, 64, 9)
    graphs = [
        BuildEntityGraph()(wrap(tile), wrap(labels))
        for wrap in (np.asarray, torch.from_numpy, lambda a: MetaTensor(torch.from_numpy(a)))
    ]
    for graph in graphs[1:]:
        assert torch.equal(graph.pos, graphs[0].pos)
        assert torch.equal(graph.vertex_windows, graphs[0].vertex_windows)
        assert type(graph.vertex_windows) is torch.Tensor


def test_dictionary_version_after_superpixels_and_batches() -> None:
    graphs = []
    for seed in range(3):
        data = Superpixelsd("image", n_segments=12)({"image": random_tile(64, 64, seed)})
        graphs.append(BuildEntityGraphd("image", window_px=8, keep_label_map=True)(data)["graph"])
    batch = next(iter(DataLoader(graphs, batch_size=3)))
    assert batch.num_graphs == 3
    assert batch.vertex_windows.shape == (sum(g.num_vertices for g in graphs), 3, 8, 8)
    assert batch.edge_index.max() < batch.num_nodes
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])
    assert batch.label_map.shape == (3, 64, 64)
    for graph, original in zip(batch.to_data_list(), graphs, strict=True):
        assert torch.equal(graph.edge_windows, original.edge_windows)
        assert torch.equal(graph.edge_index, original.edge_index)


def test_bad_input_is_named_in_one_line() -> None:
    tile, labels = random_tile(16, 16), random_map(16, 16, 4)
    cases = [
        (tile.astype(np.float32), labels, "uint8"),
        (tile.transpose(1, 2, 0), labels, r"\(3, H, W\)"),
        (tile, labels.astype(np.float32), "integers"),
        (tile, labels[:, :8], "16 x 16"),
        (tile, np.where(labels == 1, 2, labels), "Label 1"),
    ]
    for image, label_map, word in cases:
        with pytest.raises(InputError, match=word) as error:
            build_entity_graph(image, label_map)
        assert "\n" not in str(error.value)
    hwc = tile.transpose(1, 2, 0)
    for arguments, word in (
        ((tile, np.zeros((1, 2)), 4), r"\(H, W, 3\)"),
        ((hwc, np.zeros((1, 3)), 4), r"\(N, 2\)"),
        ((hwc, np.array([[np.nan, 0]]), 4), "finite"),
        ((hwc, np.zeros((1, 2)), 0), "1 px"),
    ):
        with pytest.raises(InputError, match=word):
            cut_windows(*arguments)
    with pytest.raises(ValueError, match="window_px"):
        BuildEntityGraph(window_px=0)
