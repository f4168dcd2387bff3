"""Degraded views of stored tiles: other pixels, the same entities, the same at every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.preparation.degraded_tiles import DegradedTiles, turn_tile
from hmgdm_monai.transforms.degrade import RandDegrade
from hmgdm_monai.transforms.region_adjacency import centroids_px, region_adjacency

OFF = {"stain_scale": 0.0, "blur_probability": 0.0, "jpeg_probability": 0.0}
WAYS = [(turns, flipped) for turns in range(4) for flipped in (False, True)]


def colors_of_entities(graph: EntityGraph) -> list[np.ndarray]:
    """The pixels (N, 3) of each entity, sorted."""
    image, labels = graph.image[0].numpy().transpose(1, 2, 0), graph.label_map[0].numpy()
    return [np.sort(image[labels == number], axis=0) for number in range(labels.max() + 1)]


def assert_one_mind(graph: EntityGraph) -> None:
    """Label map, positions and edges tell of the same entities in the same order."""
    labels = graph.label_map[0].numpy()
    np.testing.assert_allclose(graph.pos.numpy(), centroids_px(labels) / labels.shape[0], atol=1e-6)
    assert {tuple(sorted(pair)) for pair in graph.edge_index.T.tolist()} == {
        tuple(pair) for pair in region_adjacency(labels).T.tolist()
    }


@pytest.mark.parametrize(("turns", "flipped"), WAYS)
def test_turned_entities_stay_in_order_and_stand_where_their_pixels_are(
    graph_paths: list[Path], turns: int, flipped: bool
) -> None:
    graph = GraphStore(graph_paths)[0]
    turned = turn_tile(graph.clone(), turns, flipped)
    assert_one_mind(turned)
    assert torch.equal(turned.edge_index, graph.edge_index)
    for ours, theirs in zip(colors_of_entities(turned), colors_of_entities(graph), strict=True):
        assert np.array_equal(ours, theirs)
    assert turned.image.is_contiguous() and turned.label_map.is_contiguous()


def test_the_eight_ways_are_eight_and_can_be_undone(graph_paths: list[Path]) -> None:
    graph = GraphStore(graph_paths)[0]
    images = {turn_tile(graph.clone(), *way).image.numpy().tobytes() for way in WAYS}
    assert len(images) == 8
    for turns in range(4):
        flat = turn_tile(turn_tile(graph.clone(), turns, True), 0, True)
        back = turn_tile(flat, -turns, False)
        assert torch.equal(back.image, graph.image) and torch.equal(back.label_map, graph.label_map)
        torch.testing.assert_close(back.pos, graph.pos)


def test_pixels_change_and_entities_stay(graph_paths: list[Path]) -> None:
    views, store = DegradedTiles(graph_paths, RandDegrade(), 1), GraphStore(graph_paths)
    assert len(views) == len(store) == 5
    for index in (0, 2, 3, 4):
        view, graph = views[index], store[index]
        assert_one_mind(view)
        assert view.image.dtype == torch.uint8 and view.image.shape == graph.image.shape
        areas, before = (one.label_map.flatten().bincount() for one in (view, graph))
        assert torch.equal(areas, before) and torch.equal(view.edge_index, graph.edge_index)
        assert not np.array_equal(np.concatenate(colors_of_entities(view)), np.concatenate(colors_of_entities(graph)))


def test_views_turn_a_tile_in_all_eight_ways(graph_paths: list[Path]) -> None:
    graph = GraphStore(graph_paths)[0]
    ways = [turn_tile(graph.clone(), *way) for way in WAYS]
    found = [DegradedTiles(graph_paths, RandDegrade(**OFF), view)[0] for view in range(1, 60)]
    chosen = [[torch.equal(view.image, way.image) for way in ways].index(True) for view in found]
    assert set(chosen) == set(range(8))
    assert all(torch.equal(view.label_map, ways[way].label_map) for view, way in zip(found, chosen, strict=True))


def test_a_view_is_the_same_in_any_order_and_in_any_choice_of_units(graph_paths: list[Path]) -> None:
    views = DegradedTiles(graph_paths, RandDegrade(), 1)
    forwards = [views[index].image for index in range(5)]
    assert all(torch.equal(views[index].image, forwards[index]) for index in (4, 2, 0, 1, 3))
    assert torch.equal(DegradedTiles(graph_paths[1:], RandDegrade(), 1)[1].image, forwards[4])
    assert not torch.equal(forwards[0], forwards[4])  # tiles alike, of two rows
    assert not torch.equal(DegradedTiles(graph_paths, RandDegrade(), 2)[0].image, forwards[0])
