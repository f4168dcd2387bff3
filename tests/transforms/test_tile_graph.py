"""Tile graphs against distances of all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.tile_graph import TileGraph, edge_lengths, principal_components


def nearest(points: np.ndarray, k: int) -> set[tuple[int, int]]:
    distance = ((points[:, None] - points[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return {(n, m) for m, row in enumerate(distance) for n in np.argsort(row)[:k].tolist()}


def as_set(edges: np.ndarray) -> set[tuple[int, int]]:
    assert edges.dtype == np.int64
    pairs = list(zip(*edges.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


def test_neighbors_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    features, coords = rng.normal(size=(60, 6)), rng.uniform(size=(60, 2))
    spatial, feature = nearest(coords, 8), nearest(features, 5)
    assert as_set(TileGraph(8, 0)(features, coords)) == spatial
    assert as_set(TileGraph(0, 5)(features, None)) == feature  # 6 channels: no projection
    assert as_set(TileGraph(8, 5)(features, coords)) == spatial | feature


def test_on_a_grid_the_eight_around_are_neighbors() -> None:
    coords = np.stack(np.meshgrid(np.arange(5), np.arange(5)), -1).reshape(-1, 2) * 512
    edges = TileGraph(8, 0)(np.zeros((25, 1)), coords)
    assert set(edges[0, edges[1] == 12].tolist()) == {6, 7, 8, 11, 13, 16, 17, 18}


def test_principal_components_keep_distances_of_low_rank_features() -> None:
    rng = np.random.default_rng(1)
    low = rng.normal(size=(40, 4))
    high = low @ np.linalg.qr(rng.normal(size=(100, 4)))[0].T + 5
    found = principal_components(high, 16)
    assert found.shape == (40, 16)
    np.testing.assert_allclose(((found[:1] - found) ** 2).sum(1), ((low[:1] - low) ** 2).sum(1), atol=1e-9)
    assert as_set(TileGraph(0, 3)(high, None)) == nearest(low, 3)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_tiles_have_few_neighbors(count: int) -> None:
    edges = TileGraph(8, 8)(np.random.default_rng(0).normal(size=(count, 3)), np.arange(2 * count).reshape(count, 2))
    assert as_set(edges) == {(n, m) for n in range(count) for m in range(count) if n != m}


def test_tiles_that_coincide_never_become_their_own_neighbor() -> None:
    edges = TileGraph(0, 4)(np.zeros((30, 3)), None)
    assert (edges[0] != edges[1]).all() and np.bincount(edges[1]).tolist() == [4] * 30


def test_bad_settings_and_missing_coords() -> None:
    for settings in ({"spatial_k": 0, "feature_k": 0}, {"spatial_k": -1}, {"feature_components": 0}):
        with pytest.raises(InputError):
            TileGraph(**settings)
    with pytest.raises(InputError, match="no coords.*spatial_k to 0"):
        TileGraph()(np.zeros((3, 2)), None)


def test_lengths_are_in_units_of_the_spacing_of_tiles() -> None:
    coords = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2)
    edges = np.array([[0, 0, 0], [1, 5, 15]])
    expected = [1, 2**0.5, 18**0.5]
    for scale in (1, 512):
        np.testing.assert_allclose(edge_lengths(edges, coords * scale), expected, rtol=1e-6)
    assert np.isinf(edge_lengths(edges, None)).all()
    assert edge_lengths(np.zeros((2, 0), int), np.zeros((1, 2))).shape == (0,)
    assert edge_lengths(np.array([[0], [1]]), np.zeros((2, 2))).tolist() == [0.0]  # all tiles coincide
