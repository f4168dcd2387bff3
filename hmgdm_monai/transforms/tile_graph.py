"""Graph of the tiles of a slide: each tile is connected to its nearest neighbors in space and in feature space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class TileGraph:
    """Build edges between the tiles of one slide, with k-d trees (scipy).

    A neighbor n of tile m gives the directed edge n -> m, so that each tile receives messages from its own neighbors,
    no matter how many other tiles selected it. A neighbor in both senses gives only one edge.

    Feature neighbors are searched in the first ``feature_components`` principal components of the slide's own tiles
    (H-MGDM and Patch-GCN use all channels), because a k-d tree in hundreds of dimensions visits every point. The cost
    is about M log M with 8 components and much higher with 16, where a k-d tree degenerates (docs/benchmarks.md).

    Args:
        spatial_k: number of neighbors by distance of coords; 0 for none, for example without coords.
        feature_k: number of neighbors by distance of features; 0 for none.
        feature_components: number of principal components for the search.
    """

    spatial_k: int = 8
    feature_k: int = 8
    feature_components: int = 8

    def __post_init__(self) -> None:
        if self.spatial_k < 0 or self.feature_k < 0 or self.spatial_k + self.feature_k == 0:
            raise InputError(
                f"a tile graph needs spatial_k or feature_k above 0, not {self.spatial_k} and {self.feature_k}"
            )
        if self.feature_components < 1:
            raise InputError(f"feature_components must be at least 1, not {self.feature_components}")

    def __call__(self, features: np.ndarray, coords: np.ndarray | None) -> np.ndarray:
        """Compute the edges (2, E) int64, row 0 neighbor, row 1 tile, sorted by tile; none for a slide of one tile.

        Args:
            features: (M, D).
            coords: (M, 2), any unit; None if there are none.

        Raises:
            InputError: spatial neighbors are requested without coords.
        """
        count = len(features)
        pairs = []
        if self.spatial_k:
            if coords is None:
                raise InputError(
                    "these features have no coords, which spatial neighbors need; set spatial_k to 0 for a graph of "
                    "only feature neighbors"
                )
            pairs.append(nearest_others(np.asarray(coords, np.float64), self.spatial_k))
        if self.feature_k:
            pairs.append(nearest_others(principal_components(features, self.feature_components), self.feature_k))
        # One number for each pair: sorts by tile, then neighbor, and removes duplicates.
        keys = np.unique(np.concatenate([tile * count + neighbor for neighbor, tile in pairs]))
        return np.stack((keys % count, keys // count))


def edge_lengths(edges: np.ndarray, coords: np.ndarray | None) -> np.ndarray:
    """Compute the length (E,) float32 of each edge, in units of the distance between adjacent tiles of the slide.

    The unit is the median distance of a tile to its nearest neighbor, so lengths do not depend on the scale of coords.

    Args:
        edges: (2, E) indices of tiles.
        coords: (M, 2), any unit; None if there are none: then all lengths are infinite, which stands for unknown.
    """
    from scipy.spatial import cKDTree

    if coords is None:
        return np.full(edges.shape[1], np.inf, np.float32)
    points = np.asarray(coords, np.float64)
    nearest = cKDTree(points).query(points, 2)[0][:, 1]  # infinite for the only tile of a slide
    apart = nearest[(nearest > 0) & np.isfinite(nearest)]
    unit = np.median(apart) if len(apart) else 1.0
    return (np.linalg.norm(points[edges[0]] - points[edges[1]], axis=1) / unit).astype(np.float32)


def principal_components(features: np.ndarray, count: int) -> np.ndarray:
    """Principal component scores (M, min(count, D)) float64, by the eigenvectors of the covariance; cost M D^2.

    Args:
        features: (M, D).
        count: number of components.
    """
    centered = np.asarray(features, np.float64) - np.mean(features, 0, dtype=np.float64)
    if centered.shape[1] <= count:
        return centered
    _, vectors = np.linalg.eigh(centered.T @ centered)
    return centered @ vectors[:, ::-1][:, :count]


def nearest_others(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(neighbor, tile) pairs of the k nearest other points of each point; all others if there are fewer.

    Args:
        points: (M, D) positions.
        k: number of neighbors of each point.
    """
    from scipy.spatial import cKDTree

    count = len(points)
    k = min(k, count - 1)
    if k == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = cKDTree(points).query(points, k + 1)[1].astype(np.int64)
    tile = np.repeat(np.arange(count)[:, None], k + 1, 1)
    # A point is its own nearest neighbor, but may not be first, or not found, if points coincide: then drop the last.
    own = found == tile
    own[~own.any(1), -1] = True
    return found[~own], tile[~own]
