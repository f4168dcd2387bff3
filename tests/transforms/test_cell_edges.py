"""Neighbors of cells: known triangles, ties and lines, a limit in um, and no matter the order of the cells."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.transforms.cell_edges import CELL_EDGES, cell_edges


def pairs(edges: np.ndarray) -> set[tuple[int, int]]:
    assert edges.dtype == np.int64
    assert (edges[0] < edges[1]).all()
    found = [tuple(pair) for pair in edges.T.tolist()]
    assert found == sorted(set(found))
    return set(found)


def test_delaunay_of_known_points() -> None:
    kite = np.array([[0.0, 0.0], [10.0, 3.0], [10.0, -3.0], [14.0, 0.0]])
    # The circle through 0, 1, 2 does not hold 3; that through 0, 1, 3 would hold 2.
    assert pairs(cell_edges(kite)) == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
    inside = np.array([[0.0, 0.0], [12.0, 0.0], [6.0, 12.0], [6.0, 4.0]])
    assert pairs(cell_edges(inside)) == {(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)}


def test_nearest_neighbors_are_wanted_from_either_end() -> None:
    line = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [9.0, 0.0]])
    assert pairs(cell_edges(line, "knn", neighbors=1)) == {(0, 1), (1, 2), (2, 3)}
    assert pairs(cell_edges(line, "knn", neighbors=9)) == {(i, j) for j in range(4) for i in range(j)}


@pytest.mark.parametrize("how", CELL_EDGES)
def test_longer_edges_are_dropped(how: str) -> None:
    square = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 6.0], [30.0, 40.0]])
    assert pairs(cell_edges(square, how, 3, max_um=10.0)) == {(0, 1), (0, 2), (1, 2)}  # 10 um long: not longer
    assert pairs(cell_edges(square, how, 3, max_um=9.9)) == {(0, 1), (0, 2)}
    assert pairs(cell_edges(square, how, 3, max_um=1.0)) == set()
    assert any(3 in pair for pair in pairs(cell_edges(square, how, 3, max_um=None)))


@pytest.mark.parametrize("how", CELL_EDGES)
@pytest.mark.parametrize("grid", [False, True])
def test_the_order_of_cells_does_not_matter(how: str, grid: bool) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 200, (60, 2))
    if grid:  # where there is more than one triangulation, and many are equally near
        points = 10.0 * np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2)
    order = rng.permutation(len(points))
    edges, shuffled = cell_edges(points, how), cell_edges(points[order], how)
    assert edges.shape[1] > len(points)
    assert {tuple(sorted(pair)) for pair in order[shuffled].T.tolist()} == pairs(edges)


@pytest.mark.parametrize("how", CELL_EDGES)
def test_few_cells_and_cells_on_a_line(how: str) -> None:
    assert cell_edges(np.zeros((0, 2)), how).shape == (2, 0)
    assert cell_edges(np.zeros((1, 2)), how).shape == (2, 0)
    assert pairs(cell_edges(np.array([[0.0, 0.0], [3.0, 4.0]]), how)) == {(0, 1)}
    for direction in ([1.0, 0.0], [0.0, 1.0], [2.0, 1.0]):
        line = np.array([0.0, 30.0, 10.0, 20.0])[:, None] * direction
        assert {(0, 2), (2, 3), (1, 3)} <= pairs(cell_edges(line, how, 2))


def test_cells_in_one_place_are_neighbors() -> None:
    points = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0], [3.0, 4.0], [3.0, 4.0]])
    assert (4, 5) in pairs(cell_edges(points))
    assert pairs(cell_edges(np.zeros((3, 2)))) == {(0, 1), (1, 2)}
