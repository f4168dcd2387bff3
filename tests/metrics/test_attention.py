"""Measures of attention: closed forms, float64 loops, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.metrics.attention import (
    gini,
    head_cosine,
    mass_share,
    normalized_entropy,
    pad_graphs,
    region_mass_ratio,
)

MEASURES = {"entropy": normalized_entropy, "gini": gini, "share": lambda w, a=None: mass_share(w, areas=a)}


def attention(batch: int = 3, heads: int = 2, tokens: int = 7, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(batch, heads, tokens, generator=draw, dtype=torch.float64), -1)


def areas_of(batch: int = 3, tokens: int = 7, seed: int = 1) -> torch.Tensor:
    return 1 + 20 * torch.rand(batch, tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def regions_of(batch: int = 3, tokens: int = 7, regions: int = 3, seed: int = 2) -> torch.Tensor:
    shares = torch.rand(batch, tokens, regions + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (shares / shares.sum(-1, keepdim=True))[..., :regions]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [5, 10, 100])
def test_even_attention(tokens: int, dtype: torch.dtype) -> None:
    weights = torch.full((2, 3, tokens), 0.37, dtype=dtype)
    expected = {"entropy": 1.0, "gini": 0.0, "share": 0.6}
    for name, measure in MEASURES.items():
        np.testing.assert_allclose(measure(weights), np.full((2, 3), expected[name]), atol=1e-6)
    np.testing.assert_allclose(head_cosine(weights), [1, 1])
    np.testing.assert_allclose(region_mass_ratio(weights, regions_of(2, tokens)), np.ones((2, 3, 3)))


@pytest.mark.parametrize("tokens", [2, 10, 64])
def test_one_token_alone(tokens: int) -> None:
    weights = torch.zeros(1, 2, tokens)
    weights[0, 0, 1], weights[0, 1, 0] = 1, 1
    expected = {"entropy": 0.0, "gini": 1 - 1 / tokens, "share": 1 / tokens}
    for name, measure in MEASURES.items():
        np.testing.assert_allclose(measure(weights), np.full((1, 2), expected[name]), atol=1e-12)
    assert head_cosine(weights).item() == 0


def test_a_single_token_has_even_attention() -> None:
    weights = torch.full((2, 1, 1), 0.3)
    assert normalized_entropy(weights).tolist() == [[1], [1]]
    assert gini(weights).tolist() == [[0], [0]] and mass_share(weights).tolist() == [[1], [1]]


def test_attention_in_proportion_to_area_is_even() -> None:
    areas = areas_of()
    weights = areas[:, None].expand(-1, 2, -1)
    np.testing.assert_allclose(normalized_entropy(weights, areas), 1)
    np.testing.assert_allclose(gini(weights, areas), 0, atol=1e-12)
    share = mass_share(weights, areas=areas)
    assert (share >= 0.6 - 1e-6).all() and (share <= 0.6 + (areas / areas.sum(1, keepdim=True)).amax(1)[:, None]).all()
    np.testing.assert_allclose(region_mass_ratio(weights, regions_of(), areas), 1)


def test_whole_tokens_are_taken() -> None:
    weights = torch.tensor([[[0.5, 0.2, 0.2, 0.1]]])
    for mass, share in ((0.5, 0.25), (0.51, 0.5), (0.7, 0.5), (0.9, 0.75), (1.0, 1.0)):
        assert mass_share(weights, mass).item() == share
    assert mass_share(torch.tensor([[[1.0, 0, 0, 0]]]), 1.0).item() == 0.25


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), tokens=st.integers(2, 12), with_areas=st.booleans())
def test_equal_loops(seed: int, tokens: int, with_areas: bool) -> None:
    weights, regions = attention(1, 2, tokens, seed), regions_of(1, tokens, seed=seed)
    areas = areas_of(1, tokens, seed) if with_areas else None
    a = (np.ones(tokens) if areas is None else areas[0].numpy()).copy()
    a /= a.sum()
    for h in range(2):
        w = weights[0, h].numpy()
        divergence = sum(w[n] * np.log(w[n] / a[n]) for n in range(tokens))
        assert normalized_entropy(weights, areas)[0, h].item() == pytest.approx(1 - divergence / np.log(tokens))
        # Gini as the mean absolute difference of densities over twice their mean, which is 1.
        difference = sum(a[i] * a[j] * abs(w[i] / a[i] - w[j] / a[j]) for i in range(tokens) for j in range(tokens))
        assert gini(weights, areas)[0, h].item() == pytest.approx(difference / 2)
        held, share = 0.0, 0.0
        for n in sorted(range(tokens), key=lambda n: -w[n] / a[n]):
            if held >= 0.6:
                break
            held, share = held + w[n], share + a[n]
        assert mass_share(weights, 0.6, areas)[0, h].item() == pytest.approx(share)
        for k in range(3):
            due = sum(a[n] * float(regions[0, n, k]) for n in range(tokens))
            mass = sum(w[n] * float(regions[0, n, k]) for n in range(tokens))
            assert region_mass_ratio(weights, regions, areas)[0, h, k].item() == pytest.approx(mass / due)
    first, second = weights[0].numpy()
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert head_cosine(weights).item() == pytest.approx(cosine)


def test_entropy_is_the_textbooks_for_equal_areas() -> None:
    weights = attention()
    expected = -(weights * weights.log()).sum(-1) / np.log(7)
    torch.testing.assert_close(normalized_entropy(weights), expected)
    torch.testing.assert_close(normalized_entropy(weights, torch.full((3, 7), 12.0)), expected)


def test_batch_is_its_images_and_scale_does_not_matter() -> None:
    weights, areas, regions = attention(), areas_of(), regions_of()
    for measure in MEASURES.values():
        singles = torch.cat([measure(w[None], a[None]) for w, a in zip(weights, areas, strict=True)])
        torch.testing.assert_close(measure(weights, areas), singles)
        torch.testing.assert_close(measure(5 * weights, 0.1 * areas), singles)
    torch.testing.assert_close(head_cosine(weights), torch.cat([head_cosine(w[None]) for w in weights]))
    ratios = [region_mass_ratio(*(x[None] for x in row)) for row in zip(weights, regions, areas, strict=True)]
    torch.testing.assert_close(region_mass_ratio(weights, regions, areas), torch.cat(ratios))


def test_order_of_tokens_does_not_matter() -> None:
    weights, areas, regions = attention(), areas_of(), regions_of()
    weights[:, :, 1] = weights[:, :, 2] * areas[:, None, 1] / areas[:, None, 2]  # equal densities, unequal areas
    weights[2] = areas[2]  # even, so all densities are equal but for rounding
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    for measure in MEASURES.values():
        torch.testing.assert_close(measure(weights[..., order], areas[:, order]), measure(weights, areas))
    torch.testing.assert_close(head_cosine(weights[..., order]), head_cosine(weights))
    permuted = region_mass_ratio(weights[..., order], regions[:, order], areas[:, order])
    torch.testing.assert_close(permuted, region_mass_ratio(weights, regions, areas))


def test_absent_region_is_nan() -> None:
    regions = regions_of()
    regions[1, :, 2] = 0
    ratio = region_mass_ratio(attention(), regions)
    assert ratio[1, :, 2].isnan().all() and ratio.isnan().sum() == 2


@pytest.mark.parametrize("with_areas", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_ragged_graphs_equal_each_graph_alone(heads: int, with_areas: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    sizes = [4, 1, 9]
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    weights = torch.rand(14, heads, generator=draw)
    weights[0] = 0  # a vertex without attention is no padding
    areas = 1 + torch.rand(14, generator=draw) if with_areas else None
    regions = regions_of(1, 14)[0]
    mixed = torch.randperm(14, generator=draw)  # vertices need not stand by graph
    w = weights[:, 0] if heads == 1 else weights
    dense, dense_areas, dense_regions = pad_graphs(
        w[mixed], batch[mixed], 3, None if areas is None else areas[mixed], regions[mixed]
    )
    assert dense.shape == (3, heads, 9) and dense_areas.shape == (3, 9) and dense_regions.shape == (3, 9, 3)
    for g in range(3):
        alone = weights[batch == g].T[None]
        area = None if areas is None else areas[batch == g][None]
        for measure in MEASURES.values():
            torch.testing.assert_close(measure(dense, dense_areas)[g], measure(alone, area)[0])
        torch.testing.assert_close(head_cosine(dense)[g], head_cosine(alone)[0], equal_nan=True)
        torch.testing.assert_close(
            region_mass_ratio(dense, dense_regions, dense_areas)[g],
            region_mass_ratio(alone, regions[batch == g][None], area)[0],
        )


def test_one_head_has_no_cosine() -> None:
    assert head_cosine(attention(heads=1)).isnan().all()


@pytest.mark.parametrize(
    ("weights", "areas", "message"),
    [
        (torch.ones(2, 3), None, "must be \\(B, H, N\\)"),
        (torch.zeros(1, 1, 3), None, "attention must be finite"),
        (torch.tensor([[[1.0, -0.5]]]), None, "attention must be finite"),
        (torch.tensor([[[1.0, torch.nan]]]), None, "attention must be finite"),
        (torch.ones(1, 1, 2), torch.ones(1, 3), "areas of shape"),
        (torch.ones(1, 1, 2), torch.zeros(1, 2), "areas must be finite"),
        (torch.ones(1, 1, 2), torch.tensor([[1.0, 0.0]]), "area 0"),
    ],
)
def test_bad_tensors(weights: torch.Tensor, areas: torch.Tensor | None, message: str) -> None:
    for measure in MEASURES.values():
        with pytest.raises(ValueError, match=message):
            measure(weights, areas)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="mass"):
        mass_share(attention(), 0)
    with pytest.raises(ValueError, match="token weights of shape"):
        region_mass_ratio(attention(), regions_of(3, 6))
