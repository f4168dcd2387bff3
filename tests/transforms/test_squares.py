"""Squares: a regular grid whatever the tile shows, joined by their sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.region_adjacency import region_adjacency
from hmgdm_monai.transforms.squares import Squares


def test_a_grid_of_about_so_many_squares() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (3, 256, 256), dtype=np.uint8), np.full((3, 256, 256), 200, np.uint8)]
    labels, edges = Squares(50).cut(images[0])
    assert labels.shape == (1, 256, 256) and labels.dtype == np.int32
    areas = np.bincount(labels.ravel())
    assert len(areas) == 49  # 7 x 7
    assert areas.max() <= 37**2 and areas.min() >= 36**2
    assert edges.shape == (2, 2 * 7 * 6)
    assert np.array_equal(edges, region_adjacency(labels[0]))
    assert np.array_equal(Squares(50).cut(images[1]).label_map, labels)


@pytest.mark.parametrize(("height", "width", "count"), [(60, 90, 6), (5, 5, 100), (3, 200, 1), (7, 64, 16)])
def test_any_tile_is_covered(height: int, width: int, count: int) -> None:
    labels = Squares(count).cut(np.zeros((3, height, width), np.uint8)).label_map[0]
    present = np.unique(labels)
    assert np.array_equal(present, np.arange(len(present)))
    assert len(present) <= max(2 * count, 1)
    assert labels[0, 0] == 0 and labels[-1, -1] == len(present) - 1


def test_the_container_stays() -> None:
    labels = Squares(4)(torch.zeros(3, 8, 8, dtype=torch.uint8))
    assert isinstance(labels, torch.Tensor) and labels.dtype == torch.int32
    assert labels.unique().tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="channels first"):
        Squares(4)(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="at least 1"):
        Squares(0)
