"""Color jitter against scikit-image and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import hed_from_rgb, rgb_from_hed

from hmgdm_monai.transforms.color_jitter import NUM_DRAWS, ColorJitter

OFF = {"stain_scale": 0.0, "stain_shift": 0.0, "brightness": 0.0, "contrast": 0.0, "blur_probability": 0.0}


@pytest.fixture
def images(stained) -> torch.Tensor:
    return torch.from_numpy(stained(40, 40)).permute(2, 0, 1)[None].float()


def draws(seed: int = 0, count: int = 1) -> torch.Tensor:
    return torch.rand(count, NUM_DRAWS, generator=torch.Generator().manual_seed(seed))


def test_nothing_set_changes_nothing(images: torch.Tensor) -> None:
    torch.testing.assert_close(ColorJitter(**OFF)(images, draws()), images / 255)


def test_middle_draws_change_nothing(images: torch.Tensor) -> None:
    half = torch.full((1, NUM_DRAWS), 0.5)
    torch.testing.assert_close(ColorJitter(blur_probability=0)(images, half), images / 255, rtol=0, atol=1e-5)


def test_stain_is_jittered_in_the_space_of_the_three_stains(images: torch.Tensor) -> None:
    u = draws(1)
    jittered = ColorJitter(**{**OFF, "stain_scale": 0.3, "stain_shift": 0.1})(images, u)
    change = 2 * u[0].double().numpy() - 1
    density = -np.log((images[0].double().numpy().reshape(3, -1).T + 1) / 256)
    stains = (density @ hed_from_rgb) * (1 + 0.3 * change[:3]) + 0.1 * change[3:6]
    expected = ((256 * np.exp(-stains @ rgb_from_hed) - 1) / 255).clip(0, 1).T.reshape(1, 3, 40, 40)
    np.testing.assert_allclose(jittered.numpy(), expected, atol=1e-5)
    assert np.abs(expected - images.numpy() / 255).max() > 0.02


def test_contrast_and_brightness(images: torch.Tensor) -> None:
    u = draws(2)
    plain = images / 255
    contrast, brightness = 1 + 0.4 * (2 * u[0, 6] - 1), 1 + 0.3 * (2 * u[0, 7] - 1)
    jittered = ColorJitter(**{**OFF, "contrast": 0.4, "brightness": 0.3})(images, u)
    expected = (brightness * (plain.mean() + contrast * (plain - plain.mean()))).clamp(0, 1)
    torch.testing.assert_close(jittered, expected)


def test_blur_is_a_gaussian_of_its_own_width_for_each_image(images: torch.Tensor) -> None:
    u = draws(3, 6)
    u[:3, 8], u[3:, 8] = 0.4, 0.6
    batch = images.repeat(6, 1, 1, 1)
    jittered = ColorJitter(**{**OFF, "blur_probability": 0.5, "blur_sigma_px": (0.5, 2.0)})(batch, u)
    for image, draw in zip(jittered[:3], u[:3], strict=True):
        sigma = 0.5 + 1.5 * float(draw[9])
        expected = gaussian_filter(images[0].double().numpy() / 255, (0, sigma, sigma), mode="mirror", radius=(0, 6, 6))
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(jittered[3:], batch[3:] / 255)


def test_images_do_not_see_each_other_and_stay_untouched(images: torch.Tensor) -> None:
    batch = torch.cat([images, images.flip(-1), 255 - images])
    before, u = batch.clone(), draws(4, 3)
    jitter = ColorJitter(blur_probability=0.7)
    torch.testing.assert_close(
        jitter(batch, u), torch.cat([jitter(b[None], d[None]) for b, d in zip(batch, u, strict=True)])
    )
    assert torch.equal(batch, before)


@pytest.mark.parametrize("value", [0.0, 255.0])
def test_black_and_white_stay_finite_and_in_range(value: float) -> None:
    image = torch.full((8, 3, 16, 16), value)
    jittered = ColorJitter()(image, draws(5, 8))
    assert jittered.isfinite().all() and 0 <= jittered.min() and jittered.max() <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"stain_scale": 1.0},
        {"stain_shift": -0.1},
        {"brightness": -1},
        {"blur_probability": 2},
        {"blur_sigma_px": (2, 1)},
    ],
)
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ColorJitter(**settings)
