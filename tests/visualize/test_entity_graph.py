"""The drawing shows borders, edges and vertices where they are, and leaves the rest of the tile alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.visualize.entity_graph import draw_entity_graph, entity_graph_figure

TILE = np.full((3, 40, 60), 200, np.uint8)
LABELS = np.repeat([0, 1], 30)[None].repeat(40, axis=0).astype(np.int32)[None]
BORDER, EDGE, VERTEX = (255, 0, 0), (0, 0, 0), (0, 0, 255)


def draw(graph: EntityGraph, image: np.ndarray | None = TILE, **options: object) -> np.ndarray:
    colors = {"border_color": BORDER, "edge_color": EDGE, "vertex_color": VERTEX}
    return draw_entity_graph(graph, image, **colors, **options).astype(int)


def near(pixel: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel - np.array(color)).max() < 60)


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_everything_stands_in_its_place(scale: int) -> None:
    drawing = draw(build_entity_graph(TILE, LABELS, keep_tile=False), label_map=LABELS, scale=scale)
    assert drawing.shape == (40 * scale, 60 * scale, 3)
    for x in (15, 45):  # the two centroids
        assert near(drawing[20 * scale, x * scale], VERTEX)
    assert near(drawing[20 * scale, 24 * scale], EDGE)
    column = drawing[5 * scale, 29 * scale : 31 * scale + 1]
    assert min(np.abs(column - BORDER).max(axis=1)) < 130  # blended with the tile where lines are thin
    assert np.array_equal(drawing[: 5 * scale, : 20 * scale].reshape(-1, 3), np.full((5 * scale * 20 * scale, 3), 200))


def test_borders_come_from_the_graph_or_not_at_all() -> None:
    bare = build_entity_graph(TILE, LABELS, keep_tile=False)
    keeping = build_entity_graph(TILE, LABELS)
    without, own, given = draw(bare), draw(keeping), draw(bare, label_map=torch.from_numpy(LABELS))
    assert np.array_equal(own, given)
    assert np.array_equal(own, draw(keeping, image=None))
    assert not np.array_equal(own, without)


def test_one_vertex_without_edges() -> None:
    drawing = draw(build_entity_graph(TILE, np.zeros_like(LABELS)))
    assert near(drawing[60, 90], VERTEX)


def test_bad_input() -> None:
    graph = build_entity_graph(TILE, LABELS, keep_tile=False)
    with pytest.raises(InputError, match="uint8"):
        draw_entity_graph(graph, TILE.astype(float))
    with pytest.raises(InputError, match="keeps no image"):
        draw_entity_graph(graph)
    with pytest.raises(InputError, match="40 x 60"):
        draw_entity_graph(graph, TILE, LABELS[:, :20])


def test_figure_names_sizes_and_data() -> None:
    figure = entity_graph_figure(TILE, build_entity_graph(TILE, LABELS, keep_tile=False), LABELS, "Synthetic")
    assert figure.axes[0].get_title() == "Entity graph: 2 vertices (superpixels), 1 edges"
    assert figure.get_supxlabel() == "Synthetic"
