"""Symmetric filters: closed under turns and flips, principal, whitened."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.symmetric_filters import fit_symmetric_filters, symmetric_mean


def eight_ways(patches: Tensor) -> list[Tensor]:
    turned = [torch.rot90(patches, turns, (-2, -1)) for turns in range(4)]
    return turned + [side.flip(-1) for side in turned]


@pytest.fixture(scope="module")
def patches() -> Tensor:
    """Correlated along rows, and so as unlike their turned copies as can be."""
    return torch.randn(500, 3, 6, 6, generator=torch.Generator().manual_seed(0)).cumsum(-1)


def test_a_turned_filter_is_itself_or_its_partner_up_to_sign(patches: Tensor) -> None:
    filters, partner, even = fit_symmetric_filters(patches, 40)
    assert 0 < even.sum() < 40 and torch.equal(partner[partner], torch.arange(40))
    assert 0 < (partner != torch.arange(40)).sum() < 40
    for number, own in enumerate(filters):
        for way in eight_ways(own):
            candidates = [own] if even[number] else [own, -own, filters[partner[number]], -filters[partner[number]]]
            assert min((way - candidate).abs().max() for candidate in candidates) < 1e-9 * own.abs().max()


def test_responses_to_patches_and_their_copies_are_white(patches: Tensor) -> None:
    """Uncorrelated, of mean 0, and of variance 1 less what the damping takes."""
    filters, _, _ = fit_symmetric_filters(patches, 30)
    copies = torch.cat(eight_ways(patches)).double()
    responses = ((copies - symmetric_mean(patches).double()).flatten(1)) @ filters.flatten(1).T
    covariance = responses.T @ responses / len(responses)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-6
    assert 0.5 < covariance.diagonal().min() and covariance.diagonal().max() < 1 + 1e-6


def test_they_are_the_principal_ones(patches: Tensor) -> None:
    """They span what the first principal axes of all copies span, found without any thought of symmetry."""
    filters, _, _ = fit_symmetric_filters(patches, 19)
    copies = torch.cat(eight_ways(patches)).double().flatten(1)
    variance, axes = torch.linalg.eigh(torch.cov(copies.T))
    assert variance[-20] < 0.999 * variance[-19]  # nineteen do not cut a pair in two
    span = axes[:, -19:]
    flat = filters.flatten(1)
    assert torch.allclose(flat @ span @ span.T, flat, atol=1e-8)
    assert torch.linalg.matrix_rank(flat) == 19


def test_an_odd_count_is_filled_with_a_single_filter(patches: Tensor) -> None:
    for count in (1, 2, 3, 7, 108):  # 108 = 3 * 6 * 6: all there are
        filters, partner, even = fit_symmetric_filters(patches, count)
        assert len(filters) == len(partner) == len(even) == count


def test_faults(patches: Tensor) -> None:
    with pytest.raises(InputError, match="cannot fit 64 filters to 16 patches"):
        fit_symmetric_filters(patches[:16], 64)
    with pytest.raises(InputError, match="variance 0"):
        fit_symmetric_filters(torch.full((200, 3, 6, 6), 0.5), 64)
