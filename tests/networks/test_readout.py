"""Pooling against NumPy, and where there is nothing to pool."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.networks.readout import StatisticsReadout


def test_equals_numpy() -> None:
    states, batch = torch.randn(12, 4), torch.tensor([0, 2, 2, 0, 2, 3, 0, 2, 2, 0, 2, 2])  # graph 1 is empty
    pooled = StatisticsReadout(("mean", "std", "max"))(states, batch, 4).numpy()
    for graph in (0, 2, 3):
        rows = states[batch == graph].numpy()
        expected = np.concatenate((rows.mean(0), rows.std(0), rows.max(0)))
        np.testing.assert_allclose(pooled[graph], expected, atol=2e-4)
    np.testing.assert_allclose(pooled[1], 0, atol=1e-7)


def test_lone_entity_has_finite_gradient() -> None:
    states = torch.randn(1, 4, requires_grad=True)
    StatisticsReadout(("std",))(states, torch.zeros(1, dtype=torch.long), 1).sum().backward()
    assert states.grad.isfinite().all()


@pytest.mark.parametrize("statistics", [(), ("mean", "median")])
def test_unknown_statistics(statistics: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="statistics"):
        StatisticsReadout(statistics)
