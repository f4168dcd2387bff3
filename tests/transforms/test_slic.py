"""SLIC: connected, contiguous, about as many as asked for, along the borders, and one superpixel for one color."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label
from skimage.color import rgb2lab
from skimage.filters import gaussian

from hmgdm_monai.transforms import slic as module
from hmgdm_monai.transforms.slic import slic


def textured(height: int, width: int, seed: int = 0, smooth_px: float = 4.0) -> np.ndarray:
    """(H, W, 3) uint8 noise, blurred and stretched, so that it has structure of a size."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (smooth_px, smooth_px, 0))
    smooth = (smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-9)
    return (255 * smooth).astype(np.uint8)


def assert_partition(labels: np.ndarray, shape: tuple[int, int]) -> None:
    assert labels.shape == shape
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    for k in range(labels.max() + 1):
        assert label(labels == k)[1] == 1, f"superpixel {k} is not in one piece"
    _, first = np.unique(labels, return_index=True)
    assert (np.diff(first) > 0).all(), "labels are not in the order of their first pixel"


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    n_segments=st.integers(1, 80),
    sigma=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    iterations=st.integers(1, 5),
    smooth_px=st.sampled_from([0.0, 1.0, 5.0]),
    seed=st.integers(0, 1000),
)
def test_every_superpixel_is_one_piece(
    height: int, width: int, n_segments: int, sigma: float, iterations: int, smooth_px: float, seed: int
) -> None:
    image = textured(height, width, seed, smooth_px)
    assert_partition(slic(image, n_segments, sigma=sigma, iterations=iterations), (height, width))


@pytest.mark.parametrize("shape", [(256, 256), (512, 512), (300, 180), (1, 1000), (1000, 1)])
@pytest.mark.parametrize("n_segments", [20, 50, 200])
def test_about_as_many_superpixels_as_asked_for(shape: tuple[int, int], n_segments: int) -> None:
    labels = slic(textured(*shape, smooth_px=8.0), n_segments)
    assert 0.5 * n_segments <= labels.max() + 1 <= 1.4 * n_segments
    assert_partition(labels, shape)


def test_no_superpixel_is_a_crumb() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    labels = slic(noise, compactness=1.0)
    assert np.bincount(labels.ravel()).min() >= 0.5 * 256 * 256 / 50 * 0.9


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (200, 120, 180)])
def test_one_color_is_one_superpixel(color: tuple[int, int, int]) -> None:
    assert (slic(np.full((64, 48, 3), color, np.uint8)) == 0).all()


def test_borders_of_patches_of_color_are_kept() -> None:
    rng = np.random.default_rng(3)
    patches = np.kron(np.arange(16).reshape(4, 4), np.ones((50, 50), int))
    image = rng.permutation(np.linspace(0, 255, 16).astype(np.uint8))[patches]
    labels = slic(np.stack([image, 255 - image, image], axis=-1), 40, sigma=0.0)
    patches_of = [np.unique(patches[labels == k]) for k in range(labels.max() + 1)]
    assert all(len(p) == 1 for p in patches_of)


def test_more_compact_means_shorter_borders() -> None:
    image = textured(256, 256, smooth_px=3.0)

    def border(labels: np.ndarray) -> int:
        return int((labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum())

    lengths = [border(slic(image, compactness=c)) for c in (20.0, 100.0, 1000.0)]
    assert lengths[0] > 1.3 * lengths[1] > 1.3 * lengths[2]
    grid = 2 * 6 * 256  # 7 x 7 cells, the limit
    assert lengths[2] < 1.2 * grid


def test_same_image_same_labels_whatever_the_memory_order() -> None:
    image = textured(90, 130)
    view = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(slic(image), slic(view))
    assert np.array_equal(slic(image), slic(image.copy()))


def test_color_and_blur_are_those_of_scikit_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    image[0, 0], image[0, 1] = 0, 255  # the whole range: nothing is stretched
    planes = np.empty((3, 40, 57), np.float32)
    linear, curve = module._lookup_tables(0, 255)
    module._to_lab(np.ascontiguousarray(image.transpose(2, 0, 1)), linear, curve, np.float32(1.0), planes)
    lab = rgb2lab(image)
    assert np.abs(planes.transpose(1, 2, 0) - lab).max() < 0.1
    module._blur(planes, module._gaussian_taps(1.0))
    assert np.abs(planes.transpose(1, 2, 0) - gaussian(lab, 1.0, mode="reflect", channel_axis=-1)).max() < 0.3
