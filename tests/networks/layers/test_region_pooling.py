"""Token weights and masked pooling: what they count, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.blocks import PatchEmbeddingBlock

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.layers.region_pooling import MaskedPooling, token_weights


def maps(seed: int = 0, count: int = 2, height: int = 16, width: int = 24, num_regions: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randint(0, num_regions + 1, (count, 1, height, width), generator=generator)
    return torch.where(regions == num_regions, 255, regions).to(torch.uint8)


def tokens(seed: int = 0, count: int = 2, number: int = 6, channels: int = 5) -> torch.Tensor:
    return torch.randn(count, number, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    patch_px=st.sampled_from([1, 2, 4, 8]),
    num_regions=st.integers(1, 9),
    count=st.integers(1, 3),
)
def test_weights_are_the_average_pooled_one_hot_map(seed: int, patch_px: int, num_regions: int, count: int) -> None:
    regions = maps(seed, count, num_regions=num_regions)
    one_hot = torch.stack([(regions[:, 0] == k).double() for k in range(num_regions)], 1)
    expected = F.avg_pool2d(one_hot, patch_px).flatten(2).transpose(1, 2)
    weights = token_weights(regions, patch_px, num_regions)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.double(), expected)


def test_tokens_stand_as_in_monais_patch_embedding() -> None:
    regions = maps(num_regions=3)
    embedding = PatchEmbeddingBlock(3, (16, 24), 4, 3, 1, "conv", "none", spatial_dims=2)
    conv = embedding.patch_embeddings
    with torch.no_grad():  # token n = mean color of patch n; the colors are the one-hot map
        conv.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16)
        conv.bias.zero_()
        embedding.position_embeddings.zero_()
        one_hot = torch.cat([(regions == k).float() for k in range(3)], 1)
        torch.testing.assert_close(embedding(one_hot), token_weights(regions, 4, 3))


def test_one_region_with_a_full_mask_is_mean_pooling() -> None:
    t = tokens(number=24)
    weights = token_weights(torch.zeros(2, 1, 16, 24, dtype=torch.uint8), 4, 1)
    pooled, valid = MaskedPooling()(t, weights)
    torch.testing.assert_close(pooled[:, 0], t.mean(1), rtol=1e-6, atol=1e-7)
    assert valid.all() and pooled.dtype == t.dtype


def test_permuting_regions_permutes() -> None:
    regions, order = maps(num_regions=4), torch.tensor([2, 0, 3, 1])
    table = torch.full((256,), 255, dtype=torch.uint8)
    table[order] = torch.arange(4, dtype=torch.uint8)  # region order[k] becomes region k
    t, pool = tokens(number=24), MaskedPooling(min_mass=4.5)
    pooled, valid = pool(t, token_weights(regions, 4, 4))
    permuted, permuted_valid = pool(t, token_weights(table[regions.long()], 4, 4))
    torch.testing.assert_close(permuted, pooled[:, order])
    assert torch.equal(permuted_valid, valid[:, order]) and valid.any() and not valid.all()


def test_padding_regions_changes_nothing() -> None:
    regions, t, pool = maps(num_regions=3), tokens(number=24), MaskedPooling()
    pooled, valid = pool(t, token_weights(regions, 4, 3))
    padded, padded_valid = pool(t, token_weights(regions, 4, 9))
    torch.testing.assert_close(padded[:, :3], pooled)
    assert torch.equal(padded_valid[:, :3], valid)
    assert not padded_valid[:, 3:].any() and not padded[:, 3:].any()


def test_tokens_and_their_weights_may_come_in_any_order() -> None:
    t, weights = tokens(number=24), token_weights(maps(), 4, 4)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(MaskedPooling()(t[:, order], weights[:, order])[0], MaskedPooling()(t, weights)[0])


def test_equals_loops_and_is_valid_from_the_least_mass_on() -> None:
    regions = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    regions[0, 0, :4, :4] = 0  # one patch
    regions[0, 0, 4:, 2:6] = 1  # half of two patches
    regions[0, 0, 0, 7] = 2  # a pixel
    weights, t = token_weights(regions, 4, 4), tokens(count=1, number=4)
    pooled, valid = MaskedPooling(min_mass=1.0)(t, weights)
    expected = np.zeros((4, 5))
    for k in range(4):
        mass = sum(float(weights[0, n, k]) for n in range(4))
        for n in range(4):
            expected[k] += float(weights[0, n, k]) * t[0, n].numpy() / max(mass, 1e-6)
    np.testing.assert_allclose(pooled[0].numpy(), expected, rtol=1e-6)
    assert valid.tolist() == [[True, True, False, False]]
    assert not pooled[0, 3].any()


def test_a_map_without_regions_has_finite_gradients() -> None:
    t = tokens(number=24).requires_grad_()
    pooled, valid = MaskedPooling()(t, token_weights(torch.full((2, 1, 16, 24), 255, dtype=torch.uint8), 4, 3))
    pooled.sum().backward()
    assert not valid.any() and t.grad.isfinite().all()


@pytest.mark.parametrize(
    ("regions", "patch_px", "num_regions", "message"),
    [
        (torch.zeros(1, 1, 8, 8), 4, 2, "must be uint8"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), 4, 2, "of shape"),
        (torch.zeros(1, 1, 8, 9, dtype=torch.uint8), 4, 2, "8 x 9 px cannot be cut into patches of 4"),
        (torch.full((1, 1, 8, 8), 5, dtype=torch.uint8), 4, 3, "holds region 5, but num_regions is 3"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 4, 256, "num_regions"),
    ],
)
def test_bad_maps_are_one_line(regions: torch.Tensor, patch_px: int, num_regions: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        token_weights(regions, patch_px, num_regions)
    assert "\n" not in str(error.value)


def test_bad_settings_and_tensors() -> None:
    with pytest.raises(ValueError, match="min_mass"):
        MaskedPooling(min_mass=0)
    with pytest.raises(ValueError, match="for \\(2, 6\\)"):
        MaskedPooling()(tokens(), torch.ones(2, 5, 3))
