"""Directions in which tiles differ, against SciPy's generalised eigenvectors and closed cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.tile_discriminants import tile_discriminants

TILES = torch.arange(30).repeat_interleave(8)


@pytest.fixture
def values() -> Tensor:
    """(240, 6): tiles differ along the last column, windows of a tile most along the first."""
    draw = torch.Generator().manual_seed(0)
    spread = torch.tensor([5.0, 1.0, 1.0, 1.0, 1.0, 0.5])
    own = torch.randn(30, 6, generator=draw) * torch.tensor([0.3, 0.3, 0.3, 0.3, 0.3, 1.0])
    return own[TILES] + spread * torch.randn(240, 6, generator=draw)


def test_equals_the_generalised_eigenvectors_of_scipy(values: Tensor) -> None:
    from scipy.linalg import eigh

    changes = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    x, c = values.double().numpy(), changes.double().numpy()
    means = x.reshape(30, 8, 6).mean(1)
    within = sum(np.cov(tile.T, ddof=0) for tile in x.reshape(30, 8, 6)) * 8 / (240 - 30)
    between = np.cov(means.T) - within / 8
    whole = within + 0.5 * np.trace(within) / 6 * np.eye(6) + 3.0 * c.T @ c / 50
    _, expected = eigh(between, whole)
    found = tile_discriminants(values.double(), TILES, 4, changes.double(), ridge=0.5, change_weight=3.0).numpy()
    cosine = np.abs((expected[:, ::-1][:, :4] * found).sum(0)) / np.linalg.norm(expected[:, ::-1][:, :4], axis=0)
    np.testing.assert_allclose(cosine / np.linalg.norm(found, axis=0), 1.0, atol=1e-8)
    np.testing.assert_allclose(found.T @ whole @ found, np.eye(4), atol=1e-8)


def test_the_first_is_where_tiles_differ_and_not_where_variance_is(values: Tensor) -> None:
    first = tile_discriminants(values, TILES, 1, ridge=0.01)[:, 0]
    assert first[5].abs() > 0.95 * first.norm()
    assert values.std(0).argmax() == 0


def test_what_changes_say_nothing_of_is_left_out(values: Tensor) -> None:
    changes = torch.zeros(100, 6)
    changes[:, 5] = 10.0
    without = tile_discriminants(values, TILES, 1)[:, 0]
    found = tile_discriminants(values, TILES, 1, changes)[:, 0]
    assert found[5].abs() < 0.05 * found.norm() < without[5].abs()
    assert torch.equal(tile_discriminants(values, TILES, 1, changes[:0])[:, 0], without)


def test_order_of_windows_and_names_of_tiles_do_not_matter(values: Tensor) -> None:
    order = torch.randperm(240, generator=torch.Generator().manual_seed(2))
    one, two = tile_discriminants(values, TILES, 3), tile_discriminants(values[order], 1000 - 7 * TILES[order], 3)
    torch.testing.assert_close(one.abs(), two.abs(), rtol=1e-4, atol=1e-4)


def test_tiles_of_unequal_size(values: Tensor) -> None:
    """A tile of a single window has a mean and no spread."""
    kept = torch.arange(240) > 6
    found = tile_discriminants(values[kept], TILES[kept], 2)
    assert found.shape == (6, 2) and found.isfinite().all()


def test_faults(values: Tensor) -> None:
    with pytest.raises(ValueError, match="no 7 directions"):
        tile_discriminants(values, TILES, 7)
    with pytest.raises(InputError, match="240 windows of 1;"):
        tile_discriminants(values, torch.zeros(240, dtype=torch.long), 2)
    with pytest.raises(InputError, match="30 windows of 30"):
        tile_discriminants(values[::8], TILES[::8], 2)
