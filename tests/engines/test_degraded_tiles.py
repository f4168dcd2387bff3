"""Degraded views of stored graphs: other windows, the same entities, the same at every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmgdm_monai.data.graph_store import GraphStore, TileGraph, write_unit
from hmgdm_monai.engines.degraded_graphs import DegradedGraphs
from hmgdm_monai.transforms.degrade import RandDegrade
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.superpixels import Superpixels


@pytest.fixture
def paths(tmp_path: Path, stained) -> list[Path]:
    """Two units, of two tiles and of one that shows what the first shows."""
    pixels = np.ascontiguousarray(stained(128, 64).transpose(2, 0, 1))

    def tile(unit: str, left: int) -> TileGraph:
        image = pixels[:, :, left : left + 64]
        graph = build_entity_graph(image, Superpixels(12)(image), windows=False, keep_label_map=True)
        return TileGraph(graph, f"{unit}/row", (left, 0), 0.5, image.transpose(1, 2, 0))

    units = {"a": (0, 64), "b": (0,)}
    return [write_unit(tmp_path, name, [tile(name, left) for left in lefts], {}) for name, lefts in units.items()]


def windows(graph) -> torch.Tensor:  # noqa: ANN001
    return torch.cat((graph.vertex_windows, graph.edge_windows))


def test_windows_change_and_entities_stay(paths: list[Path]) -> None:
    views, store = DegradedGraphs(paths, RandDegrade(), 1, 16), GraphStore(paths, window_px=16)
    assert len(views) == len(store) == 3
    for index in range(3):
        view, graph = views[index], store[index]
        assert torch.equal(view.pos, graph.pos) and torch.equal(view.edge_index, graph.edge_index)
        assert windows(view).shape == windows(graph).shape and not torch.equal(windows(view), windows(graph))


def test_all_windows_of_a_tile_are_turned_alike_in_all_eight_ways(paths: list[Path]) -> None:
    off = RandDegrade(stain_scale=0.0, blur_probability=0.0, jpeg_probability=0.0)
    original = windows(GraphStore(paths, window_px=16)[0])
    turned = [torch.rot90(original, turns, (2, 3)) for turns in range(4)]
    ways = turned + [side.flip(3) for side in turned]
    found = [windows(DegradedGraphs(paths, off, view, 16)[0]) for view in range(1, 60)]
    chosen = [[torch.equal(view, way) for way in ways].index(True) for view in found]
    assert set(chosen) == set(range(8))


def test_without_windows_of_edges_those_of_vertices_are_the_same(paths: list[Path]) -> None:
    whole, bare = (DegradedGraphs(paths, RandDegrade(), 1, 16, edge_windows=edges) for edges in (True, False))
    for index in range(3):
        assert torch.equal(bare[index].vertex_windows, whole[index].vertex_windows)
        assert "edge_windows" not in bare[index] and "edge_windows" in whole[index]


def test_a_view_is_the_same_in_any_order_and_in_any_choice_of_units(paths: list[Path]) -> None:
    views = DegradedGraphs(paths, RandDegrade(), 1, 16)
    forwards = [windows(views[index]) for index in range(3)]
    assert all(torch.equal(windows(views[index]), forwards[index]) for index in (2, 0, 1))
    assert torch.equal(windows(DegradedGraphs(paths[1:], RandDegrade(), 1, 16)[0]), forwards[2])
    assert not torch.equal(forwards[0], forwards[2])  # tiles alike, of two rows
    assert not torch.equal(windows(DegradedGraphs(paths, RandDegrade(), 2, 16)[0]), forwards[0])
