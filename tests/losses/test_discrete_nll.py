"""Discrete-time likelihood against products of probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL, fit_cuts

CUTS = [1.0, 3.0]


def test_equals_the_product_of_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits, time, event = rng.normal(size=(40, 3)) * 2, rng.uniform(0.1, 5, 40), rng.integers(0, 2, 40)
    time[:2] = CUTS  # a cut belongs to the interval that it ends
    expected = []
    for row, t, died in zip(logits, time, event, strict=True):
        hazard = 1 / (1 + np.exp(-row))
        interval = int(t > 1) + int(t > 3)
        alive = np.prod(1 - hazard[:interval])
        expected.append(-np.log(alive * (hazard[interval] if died else 1 - hazard[interval])))
    loss = DiscreteTimeNLL(CUTS)(*map(torch.tensor, (logits, time, event)))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-10)


def test_probabilities_of_all_outcomes_sum_to_one() -> None:
    loss = DiscreteTimeNLL(CUTS)
    logits = torch.randn(1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    died = [torch.exp(-loss(logits, torch.tensor([t]), torch.ones(1))) for t in (0.5, 2.0, 4.0)]
    outlived = torch.exp(-loss(logits, torch.tensor([4.0]), torch.zeros(1)))
    torch.testing.assert_close(sum(died) + outlived, torch.tensor(1.0, dtype=torch.float64))


def test_higher_hazards_are_a_higher_risk() -> None:
    risk = DiscreteTimeNLL(CUTS).risk(torch.tensor([[2.0, 0, 0], [-2.0, 0, 0], [-2.0, 0, 3.0]]))
    assert risk[0] > risk[2] > risk[1]


def test_extreme_logits_keep_a_finite_gradient() -> None:
    logits = torch.tensor([[300.0, -300.0, 300.0]], requires_grad=True)
    loss = DiscreteTimeNLL(CUTS)(logits, torch.tensor([4.0]), torch.ones(1))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_cuts_share_out_the_deaths() -> None:
    time, event = np.arange(1.0, 41.0), np.tile([1, 0], 20)
    cuts = fit_cuts(time, event, 4)
    counts = np.bincount(np.searchsorted(cuts, time[event == 1]), minlength=4)
    assert counts.tolist() == [5, 5, 5, 5]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="ascend"):
        DiscreteTimeNLL([2.0, 1.0])
    with pytest.raises(ValueError, match="logits of shape"):
        DiscreteTimeNLL(CUTS)(torch.zeros(2, 2), torch.ones(2), torch.ones(2))
    with pytest.raises(InputError, match="num_intervals"):
        fit_cuts(np.array([1.0, 2.0]), np.array([1, 0]), 2)
