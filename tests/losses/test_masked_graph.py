"""Loss of masked graph diffusion against NumPy, and where a kind has nothing hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.losses.masked_graph import MaskedGraphLoss


@settings(deadline=None, max_examples=50)
@given(
    vertices=st.integers(1, 9),
    edges=st.integers(1, 9),
    kl_weight=st.floats(0, 3),
    edge_weight=st.floats(0, 1),
    kl=st.floats(0, 10),
)
def test_equals_numpy(vertices: int, edges: int, kl_weight: float, edge_weight: float, kl: float) -> None:
    rng = np.random.default_rng(vertices + 10 * edges)
    v, v_target = rng.normal(size=(2, vertices, 5))
    e, e_target = rng.normal(size=(2, edges, 5))
    expected = (
        (1 - edge_weight) * np.mean((v - v_target) ** 2) + edge_weight * np.mean((e - e_target) ** 2) + kl_weight * kl
    )
    tensors = [torch.from_numpy(array) for array in (v, v_target, e, e_target)]
    ours = MaskedGraphLoss(kl_weight, edge_weight)(*tensors, torch.tensor(kl, dtype=torch.float64))
    assert ours.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_published_weights() -> None:
    ones, zeros = torch.ones(2, 3), torch.zeros(2, 3)
    assert MaskedGraphLoss(1.0)(2 * ones, zeros, ones, zeros, torch.tensor(0.25)).item() == 0.5 * 4 + 0.5 * 1 + 0.25


@pytest.mark.parametrize("count", [0, 4])
def test_nothing_hidden_is_finite(count: int) -> None:
    """No hidden edges, or no hidden entity at all, as in a batch of single-vertex graphs."""
    prediction, none = torch.randn(count, 5, requires_grad=True), torch.zeros(0, 5, requires_grad=True)
    loss = MaskedGraphLoss()(prediction, torch.zeros(count, 5), none, torch.zeros(0, 5), torch.tensor(0.0))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * prediction.detach().square().mean().item() if count else 0.0)
    assert prediction.grad.isfinite().all()


def test_without_edge_latents_the_vertices_count_whole() -> None:
    prediction = torch.full((2, 3), 2.0)
    assert MaskedGraphLoss()(prediction, torch.zeros(2, 3), None, None, torch.tensor(0.0)).item() == 4


@pytest.mark.parametrize("weights", [(-1.0, 0.5), (1.0, -0.1), (1.0, 1.1)])
def test_bad_weights(weights: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="kl_weight"):
        MaskedGraphLoss(*weights)
