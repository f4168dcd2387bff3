"""Texture statistics: what they are, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.texture_statistics import TextureStatistics


@pytest.fixture(scope="module")
def windows() -> Tensor:
    return torch.rand(60, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def fitted(windows: Tensor) -> TextureStatistics:
    statistics = TextureStatistics(6, filter_px=8, stride_px=4)
    statistics.fit(windows, generator=torch.Generator().manual_seed(0))
    return statistics


def test_equals_a_loop_over_positions(fitted: TextureStatistics, windows: Tensor) -> None:
    filters, bias = fitted.filters.double().numpy(), fitted.bias.double().numpy()
    for window, found in zip(windows[:2].double().numpy(), fitted(windows[:2]), strict=True):
        positive, negative, count = np.zeros(6), np.zeros(6), 0
        for y in range(0, 32 - 8 + 1, 4):
            for x in range(0, 32 - 8 + 1, 4):
                response = (filters * window[:, y : y + 8, x : x + 8]).sum((1, 2, 3)) + bias
                positive += np.maximum(response, 0)
                negative += np.maximum(-response, 0)
                count += 1
        raw = np.concatenate((positive, negative)) / count
        expected = (raw - fitted.mean.double().numpy()) / fitted.std.double().numpy()
        np.testing.assert_allclose(found.double().numpy(), expected, atol=1e-3)


def test_standardised_on_what_it_was_fitted_to(fitted: TextureStatistics, windows: Tensor) -> None:
    values = fitted(windows)
    assert values.shape == (60, fitted.size) == (60, 12)
    assert torch.allclose(values.mean(0), torch.zeros(12), atol=1e-3)
    assert torch.allclose(values.std(0), torch.ones(12), atol=1e-3)


def test_does_not_see_where_a_periodic_texture_begins(fitted: TextureStatistics) -> None:
    # Seven positions of stride 4 cover one period of 28 px, wherever it begins on that grid.
    texture = torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(4)).repeat(1, 1, 3, 3)
    here = fitted(texture[..., :32, :32])
    there = fitted(texture[..., 8:40, 20:52])
    assert torch.allclose(here, there, atol=1e-3)
    assert not torch.allclose(here, fitted(1 - texture[..., :32, :32]), atol=0.1)


def test_filters_are_whitened_components(windows: Tensor) -> None:
    """Responses to patches like those fitted to are uncorrelated, of mean 0 and of variance at most 1."""
    statistics = TextureStatistics(6, filter_px=4)
    statistics.fit(windows, patches_per_window=40, generator=torch.Generator().manual_seed(0))
    patches = windows.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 48)
    responses = (patches @ statistics.filters.flatten(1).T + statistics.bias).double()
    covariance = torch.cov(responses.T)
    assert covariance.diagonal().max() < 1.2 and covariance.diagonal().min() > 0.5
    assert (covariance - covariance.diag().diag()).abs().max() < 0.15
    assert responses.mean(0).abs().max() < 0.1


def test_a_scale_is_the_statistics_of_shrunk_windows(windows: Tensor) -> None:
    """What stands for scale 2 is what filters with half the stride see in windows of half the side."""
    both = TextureStatistics(6, scales=(1, 2))
    both.fit(windows, generator=torch.Generator().manual_seed(0))
    assert both.size == 24
    found = both(windows)
    shrunk = windows.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    for part, own, stride, seen in ((0, 1, 4, windows), (1, 2, 2, shrunk)):
        alone = TextureStatistics(6, stride_px=stride)
        alone.filters.copy_(both.filters[6 * part : 6 * own])
        alone.bias.copy_(both.bias[6 * part : 6 * own])
        raw = alone(seen)  # mean 0, scale 1: not standardised
        rows = slice(12 * part, 12 * own)
        torch.testing.assert_close(found[:, rows], (raw - both.mean[rows]) / both.std[rows], rtol=0, atol=1e-4)
    assert torch.allclose(found.std(0), torch.ones(24), atol=1e-3)


def test_the_second_layer_equals_a_loop_over_positions(windows: Tensor) -> None:
    both = TextureStatistics(6, scales=(1, 2), second_filters=5)
    both.fit(windows, generator=torch.Generator().manual_seed(0))
    assert both.size == 2 * (6 * 2 + 5)
    filters, bias = both.second.double().numpy(), both.second_bias.double().numpy()
    first, first_bias = both.filters[:6].double().numpy(), both.bias[:6].double().numpy()
    for window, found in zip(windows[:2].double().numpy(), both(windows[:2]), strict=True):
        maps = np.zeros((6, 7, 7))
        for y in range(7):
            for x in range(7):
                patch = window[:, 4 * y : 4 * y + 8, 4 * x : 4 * x + 8]
                maps[:, y, x] = np.maximum((first * patch).sum((1, 2, 3)) + first_bias, 0)
        parts = [maps[:, y : y + 3, x : x + 3] for y in (0, 2, 4) for x in (0, 2, 4)]
        responses = np.array([(filters * part).sum((1, 2, 3)) + bias for part in parts])
        raw = np.concatenate((np.maximum(responses, 0).mean(0), np.maximum(-responses, 0).mean(0)))
        expected = (raw - both.mean[24:].double().numpy()) / both.std[24:].double().numpy()
        np.testing.assert_allclose(found[24:].double().numpy(), expected, atol=1e-3)


def test_a_second_layer_leaves_the_first_as_it_is(windows: Tensor) -> None:
    one, two = TextureStatistics(6), TextureStatistics(6, second_filters=5)
    for statistics in (one, two):
        statistics.fit(windows, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(two(windows)[:, :12], one(windows), rtol=0, atol=1e-5)
    assert torch.allclose(two(windows).std(0), torch.ones(22), atol=1e-3)
    assert "second" not in one.state_dict()  # weights of before load
    loaded = TextureStatistics(6, second_filters=5)
    loaded.load_state_dict(two.state_dict())
    assert torch.equal(loaded(windows), two(windows))


def test_coarse_texture_outlasts_blur(windows: Tensor) -> None:
    """Blur moves the statistics of scale 2 less than those of scale 1."""
    both = TextureStatistics(6, scales=(1, 2))
    both.fit(windows, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(windows, 3, stride=1, padding=1, count_include_pad=False)
    moved = (both(blurred) - both(windows)).square().mean(0)
    assert moved[12:].mean() < 0.8 * moved[:12].mean()


def test_fit_is_reproducible_and_saved(fitted: TextureStatistics, windows: Tensor) -> None:
    again = TextureStatistics(6)
    assert not again.fitted
    again.fit(windows, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.filters, fitted.filters)
    loaded = TextureStatistics(6)
    loaded.load_state_dict(fitted.state_dict())
    assert loaded.fitted and torch.equal(loaded(windows), fitted(windows))


def test_faults(windows: Tensor) -> None:
    with pytest.raises(ValueError, match="no 49 principal components"):
        TextureStatistics(49, filter_px=4)
    for scales in ((), (0,), (1, 8)):
        with pytest.raises(ValueError, match="scales must be"):
            TextureStatistics(6, scales=scales)
    with pytest.raises(ValueError, match="leave the second layer no 55"):
        TextureStatistics(6, second_filters=55)
    with pytest.raises(InputError, match="cannot fit 64 filters to 16 patches"):
        TextureStatistics(64).fit(windows[:2])
    with pytest.raises(InputError, match="variance 0"):
        TextureStatistics(6).fit(torch.full((20, 3, 32, 32), 0.5))
