"""The entity graph: one vertex and one edge for what there is, flips carry over, odd tiles work, PyG batches it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch_geometric.loader import DataLoader

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import (
    BuildEntityGraph,
    BuildEntityGraphd,
    build_entity_graph,
    cut_windows,
    window_centers_px,
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
    center = np.array([[x + size / 2, y + size / 2]])  # the window starts at exactly (x, y)
    room = 80
    padded = np.pad(tile, ((room, room), (room, room), (0, 0)), mode="reflect")
    expected = padded[y + room : y + room + size, x + room : x + room + size].transpose(2, 0, 1)
    assert np.array_equal(cut_windows(tile, center, size)[0], expected)


def test_edges_stand_once_sorted() -> None:
    graph = build_entity_graph(random_tile(60, 70), random_map(60, 70, 25))
    first, second = graph.edge_index
    assert (first < second).all()
    keys = first * 25 + second
    assert (keys.diff() > 0).all()
    assert graph.edge_index.dtype == torch.int64 and graph.pos.shape == (25, 2)
    assert graph.validate()


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("shape", [(64, 96), (45, 61), (20, 24)])
def test_a_flipped_tile_gives_the_flipped_graph(axis: int, shape: tuple[int, int]) -> None:
    tile, labels = random_tile(*shape), random_map(*shape, 20)
    graph = build_entity_graph(tile, labels)
    flipped = build_entity_graph(np.flip(tile, axis), np.flip(labels, axis))
    coordinate = 0 if axis == -1 else 1
    expected = graph.pos.clone()
    expected[:, coordinate] = 1 - expected[:, coordinate]
    assert torch.allclose(flipped.pos, expected, atol=1e-7)
    assert torch.equal(flipped.edge_index, graph.edge_index)
    for name in ("image", "label_map"):
        assert torch.equal(flipped[name], graph[name].flip(axis))


def test_one_color_is_one_vertex_without_edges() -> None:
    tile = np.full((3, 256, 256), 230, np.uint8)
    graph = build_entity_graph(tile, Superpixels()(tile))
    assert graph.pos.tolist() == [[0.5, 0.5]]
    assert graph.edge_index.shape == (2, 0)
    assert graph.edge_index.dtype == torch.int64
    assert graph.validate()
    batch = next(iter(DataLoader([graph, graph], batch_size=2)))
    assert batch.edge_index.shape == (2, 0) and batch.label_map.unique().tolist() == [0]


def test_the_tile_is_kept_as_it_is_where_it_is_wanted() -> None:
    tile, labels = random_tile(30, 20), random_map(30, 20, 6)
    whole, bare = build_entity_graph(tile, labels), build_entity_graph(tile, labels, keep_tile=False)
    assert whole.image.dtype == torch.uint8 and np.array_equal(whole.image[0].numpy(), tile)
    assert whole.label_map.dtype == torch.int32 and np.array_equal(whole.label_map.numpy(), labels)
    assert set(bare.keys()) == {"pos", "edge_index"}
    assert torch.equal(bare.pos, whole.pos) and torch.equal(bare.edge_index, whole.edge_index)


def test_window_centers_of_edges_are_midway() -> None:
    pos = torch.tensor([[0.25, 0.5], [0.75, 1.0]])
    vertices, edges = window_centers_px(pos, torch.tensor([[0], [1]]), height=10, width=20)
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
        for name in ("image", "label_map"):
            assert torch.equal(graph[name], graphs[0][name])
            assert type(graph[name]) is torch.Tensor


def test_dictionary_version_after_superpixels_and_batches() -> None:
    graphs = []
    for seed in range(3):
        data = Superpixelsd("image", n_segments=12)({"image": random_tile(64, 64, seed)})
        graphs.append(BuildEntityGraphd("image")(data)["graph"])
    batch = next(iter(DataLoader(graphs, batch_size=3)))
    assert batch.num_graphs == 3
    assert batch.num_nodes == sum(g.num_vertices for g in graphs)
    assert batch.edge_index.max() < batch.num_nodes
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])
    assert batch.image.shape == (3, 3, 64, 64) and batch.label_map.shape == (3, 64, 64)
    for graph, original in zip(batch.to_data_list(), graphs, strict=True):
        for name in ("image", "label_map", "edge_index"):
            assert torch.equal(graph[name], original[name])
    bare = BuildEntityGraphd("image", keep_tile=False)(data)["graph"]
    assert "image" not in bare and "label_map" not in bare


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
