from __future__ import annotations

import pytest
import torch

from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


@pytest.fixture
def pooling() -> GatedAttentionPooling:
    return GatedAttentionPooling(6, 4).double()


def oracle(pooling: GatedAttentionPooling, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One set, one state at a time, in plain numbers."""
    scores = []
    for state in states:
        value = torch.tanh(pooling.value.weight @ state + pooling.value.bias)
        gate = torch.sigmoid(pooling.gate.weight @ state + pooling.gate.bias)
        scores.append((pooling.score.weight[0] * value * gate).sum() + pooling.score.bias[0])
    weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
    return sum(w * s for w, s in zip(weights, states, strict=True)), weights


def test_equals_the_loop(pooling):
    sizes = (5, 1, 9)
    states = torch.randn(sum(sizes), 6, dtype=torch.double)
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    shuffled = torch.randperm(len(batch))  # members of a set need not stand together
    pooled, attention = pooling(states[shuffled], batch[shuffled], 3)
    for number in range(3):
        mine = batch == number
        wanted, weights = oracle(pooling, states[mine])
        assert torch.allclose(pooled[number], wanted)
        assert torch.allclose(attention[torch.argsort(shuffled)][mine], weights)
        assert attention[batch[shuffled] == number].sum().item() == pytest.approx(1.0)


def test_an_empty_set_gives_zeros_and_disturbs_none(pooling):
    states = torch.randn(4, 6, dtype=torch.double)
    pooled, _ = pooling(states, torch.tensor([0, 0, 2, 2]), 4)
    assert pooled[[1, 3]].abs().sum() == 0
    assert torch.allclose(pooled[2], oracle(pooling, states[2:])[0])


def test_large_scores_stay_finite(pooling):
    pooling.score.weight.data *= 1e4
    pooled, attention = pooling(torch.randn(7, 6, dtype=torch.double) * 10, torch.zeros(7, dtype=torch.long), 1)
    assert pooled.isfinite().all() and attention.sum().item() == pytest.approx(1.0)
