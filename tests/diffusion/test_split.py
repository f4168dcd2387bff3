"""The split: complementary, at its ratio in every graph, in any order, and truly random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.diffusion.split import split_visible


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_every_graph_hits_the_ratio(sizes: list[int], ratio: float, seed: int) -> None:
    """Graphs without entities included, entities in any order."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    batch = batch[torch.randperm(len(batch), generator=generator)]
    visible = split_visible(batch, ratio, generator)
    assert visible.shape == batch.shape and visible.dtype == torch.bool
    for graph, size in enumerate(sizes):
        hidden = int((~visible)[batch == graph].sum())
        if size < 2:
            assert hidden == 0
        else:
            assert hidden == min(max(round(ratio * size), 1), size - 1)


def test_same_seed_same_split() -> None:
    batch = torch.arange(4).repeat_interleave(20)
    one, two, other = (split_visible(batch, 0.6, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_every_entity_is_hidden_as_often() -> None:
    """4 of 7 over 2,000 draws: each entity's share within five standard errors."""
    batch, generator = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0]), torch.Generator().manual_seed(0)
    share = torch.stack([~split_visible(batch, 0.6, generator) for _ in range(2000)]).double().mean(0)
    assert (share - 4 / 7).abs().max() < 5 * (4 / 7 * 3 / 7 / 2000) ** 0.5


def test_no_entities() -> None:
    assert split_visible(torch.zeros(0, dtype=torch.long), 0.6).shape == (0,)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, float("nan")])
def test_bad_ratio(ratio: float) -> None:
    with pytest.raises(ValueError, match="mask_ratio"):
        split_visible(torch.zeros(3, dtype=torch.long), ratio)
