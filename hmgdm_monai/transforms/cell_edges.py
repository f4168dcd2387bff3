"""Find neighboring cells of a tile, by Delaunay triangulation or nearest neighbors within a maximum distance."""

from __future__ import annotations

import numpy as np

from hmgdm_monai.transforms.tile_graph import nearest_others

CELL_EDGES = ("delaunay", "knn")


def cell_edges(
    points_um: np.ndarray, how: str = "delaunay", neighbors: int = 5, max_um: float | None = 50.0
) -> np.ndarray:
    """Undirected edges between points.

    The result does not depend on the order of the points: they are first sorted by position, which resolves ties
    (points on a grid have more than one triangulation).

    Args:
        points_um: (V, 2) (x, y) in um.
        how: "delaunay" connects the corners of each triangle of the Delaunay triangulation; points on one line are
            connected to the next along it. "knn" connects each point to its nearest neighbors; an edge exists if
            either end selects the other.
        neighbors: number of neighbors for "knn".
        max_um: longer edges are dropped; None drops none.

    Returns:
        (2, E) int64, each edge once, first < second, sorted.
    """
    count = len(points_um)
    if count < 2:
        return np.zeros((2, 0), np.int64)
    order = np.lexsort((points_um[:, 1], points_um[:, 0]))
    points = np.asarray(points_um, np.float64)[order]
    pairs = _delaunay(points) if how == "delaunay" else np.stack(nearest_others(points, neighbors))
    if max_um is not None:
        pairs = pairs[:, np.linalg.norm(points[pairs[0]] - points[pairs[1]], axis=1) <= max_um]
    first, second = np.sort(order[pairs], axis=0)
    keys = np.unique(first * count + second)
    return np.stack([keys // count, keys % count]).astype(np.int64)


def _delaunay(points: np.ndarray) -> np.ndarray:
    """Pairs (2, P); some occur twice."""
    from scipy.spatial import Delaunay, QhullError

    try:
        found = Delaunay(points) if len(points) > 2 else None
    except QhullError:  # all points are on one line
        found = None
    if found is None:
        along = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]
        order = np.argsort(points @ along, kind="stable")
        return np.stack([order[:-1], order[1:]])
    corners = found.simplices.T
    sides = [corners[[i, j]] for i, j in ((0, 1), (1, 2), (2, 0))]
    same = found.coplanar[:, [0, 2]].T  # points at the position of another point are in no triangle
    return np.concatenate([*sides, same], axis=1).astype(np.int64)
