"""Cells as entities: nuclei or outlines of others, each one piece, neighbors within a distance in um."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_cutter import build_cutter
from hmgdm_monai.transforms.cells import Cells, one_piece_each
from hmgdm_monai.transforms.entity_cutter import NoEntitiesError
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.nuclei import SegmentNuclei
from hmgdm_monai.transforms.region_adjacency import centroids_px
from hmgdm_monai.transforms.stain import LIGHT, REFERENCE_STAINS

TILE = np.full((3, 60, 80), 180, np.uint8)


def squares(*corners: tuple[int, int], side: int = 6) -> np.ndarray:
    """(60, 80) instances, 10, 20, ... of squares by their upper left corners (x, y)."""
    found = np.zeros((60, 80), np.int64)
    for number, (x, y) in enumerate(corners, 1):
        found[y : y + side, x : x + side] = 10 * number
    return found


def nuclei_tile(mpp: float, side_um: float = 96.0, step_um: float = 16.0) -> np.ndarray:
    """(3, H, W) uint8 with discs of hematoxylin, 8 um wide, on a grid."""
    size = round(side_um / mpp)
    y, x = (np.mgrid[:size, :size] + 0.5) * mpp
    near = (y % step_um - step_um / 2) ** 2 + (x % step_um - step_um / 2) ** 2 <= 16
    concentrations = np.stack([0.1 + 1.2 * near, np.full(near.shape, 0.3)])
    return np.rint(LIGHT * np.exp(-np.einsum("cs,shw->chw", REFERENCE_STAINS, concentrations))).astype(np.uint8)


def test_outlines_become_entities_in_the_order_of_their_first_pixels() -> None:
    outlines = squares((50, 2), (4, 20), (30, 40))
    labels, edges = Cells(max_edge_um=None).cut(TILE, 1.0, outlines)
    assert labels.shape == (1, 60, 80) and labels.dtype == np.int32
    assert np.array_equal(labels[0], outlines // 10 - 1)
    assert edges.T.tolist() == [[0, 1], [0, 2], [1, 2]]
    renumbered = np.where(outlines > 0, 2**40 - outlines, 0)  # other numbers, other order
    again, same = Cells(max_edge_um=None).cut(TILE, 1.0, renumbered)
    assert np.array_equal(again, labels) and np.array_equal(same, edges)


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_edges_end_at_a_distance_in_um(mpp: float) -> None:
    outlines = squares((0, 0), (20, 0), (70, 0))  # centers 20 and 50 px apart
    for limit_px, expected in ((19, []), (21, [[0, 1]]), (51, [[0, 1], [1, 2]])):
        cutter = Cells("delaunay", max_edge_um=limit_px * mpp)
        assert cutter.cut(TILE, mpp, outlines).edge_index.T.tolist() == expected


def test_nuclei_are_the_cells_where_no_outlines_are_given() -> None:
    graphs = []
    for mpp in (0.5, 1.0):
        image = nuclei_tile(mpp)
        labels, edges = Cells(max_edge_um=20.0).cut(image, mpp)
        assert np.array_equal(labels >= 0, SegmentNuclei()(image, mpp) > 0)
        assert labels.max() == 35
        assert len(edges.T) == 60  # 16 um to the next; across, 22.6 um, is too far
        graphs.append(build_entity_graph(image, labels, edge_index=edges, mpp=mpp))
    assert np.allclose(*(graph.pos.numpy() for graph in graphs), atol=0.01)
    assert np.array_equal(*(graph.edge_index.numpy() for graph in graphs))
    assert graphs[0].mpp.tolist() == [0.5]


def test_hundreds_of_cells() -> None:
    labels, edges = Cells(max_edge_um=17.0).cut(nuclei_tile(1.0, 320.0), 1.0)
    assert labels.max() + 1 == 400
    assert edges.shape == (2, 2 * 20 * 19)


def test_a_cell_that_the_border_cuts_keeps_its_visible_part() -> None:
    outlines = squares((77, 10), (0, 57))
    labels = Cells().cut(TILE, 0.5, outlines).label_map[0]
    assert np.bincount(labels[labels >= 0]).tolist() == [3 * 6, 6 * 3]
    assert centroids_px(labels).tolist() == [[78.5, 13.0], [3.0, 58.5]]


def test_no_cell_and_a_single_one() -> None:
    for nothing in (squares(), None):  # an even tile has no nuclei either
        with pytest.raises(NoEntitiesError, match="no cell"):
            Cells().cut(TILE, 0.5, nothing)
    labels, edges = Cells().cut(TILE, 0.5, squares((30, 30)))
    graph = build_entity_graph(TILE, labels, edge_index=edges)
    assert graph.num_vertices == 1 and graph.edge_index.shape == (2, 0)
    assert np.allclose(graph.pos.numpy(), [[33 / 80, 33 / 60]])


def test_each_cell_is_one_piece() -> None:
    instances = np.array([[5, 5, 0, 7], [0, 0, 5, 7], [7, 0, 0, 7], [7, 7, 0, 0]])
    # Of 5 the two pixels above stay, the corner alone does not join; of 7 in two pieces of three, the first.
    expected = [[0, 0, -1, 1], [-1, -1, -1, 1], [-1, -1, -1, 1], [-1, -1, -1, -1]]
    assert one_piece_each(instances).tolist() == expected
    assert one_piece_each(np.array([[3, 3], [9, -4]])).tolist() == [[0, 0], [1, -1]]
    assert one_piece_each(np.array([[3, 3], [9, 9]])).tolist() == [[0, 0], [1, 1]]
    assert one_piece_each(np.zeros((2, 2), np.uint8)).tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize("mpp", [None, 0.0, float("nan"), float("inf")])
def test_an_unknown_scale_is_told(mpp: float | None) -> None:
    with pytest.raises(InputError, match="column mpp"):
        Cells().cut(TILE, mpp, squares((0, 0)))


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(InputError, match="not above 2"):
        Cells().cut(TILE, 3.0)
    assert Cells().cut(TILE, 3.0, squares((0, 0))).label_map.max() == 0  # outlines need no such limit
    with pytest.raises(InputError, match="as the tile"):
        Cells().cut(TILE, 0.5, squares((0, 0))[:-1])
    with pytest.raises(InputError, match="as the tile"):
        Cells().cut(TILE, 0.5, squares((0, 0)).astype(float))
    for settings in ({"edges": "voronoi"}, {"neighbors": 0}, {"max_edge_um": 0.0}, {"max_edge_um": float("nan")}):
        with pytest.raises(InputError):
            Cells(**settings)


def test_cutters_from_settings() -> None:
    kinds = [build_cutter(kind, 12, 5.0, None, "knn", 3, None) for kind in ("superpixels", "squares", "cells")]
    assert [list(cutter.settings()) for cutter in kinds] == [["superpixels"], ["squares"], ["cells"]]
    assert [cutter.reads_cells for cutter in kinds] == [False, False, True]
    assert kinds[2].settings()["cells"] | {"nuclei": None} == {
        "edges": "knn",
        "neighbors": 3,
        "max_edge_um": None,
        "nuclei": None,
    }
    assert build_cutter("cells", cell_neighbors=7).settings() == build_cutter("cells", cell_neighbors=5).settings()
    assert build_cutter("graphs") is None
    with pytest.raises(InputError, match="superpixels, squares, cells, graphs"):
        build_cutter("glands")
