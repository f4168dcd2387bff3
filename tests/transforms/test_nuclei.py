"""Nuclei: discs are found and counted, what holds none gives none, and neither lie nor scale of the tile matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import label, zoom
from skimage.data import immunohistochemistry

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.instance_segmentation import instance_scores
from hmgdm_monai.transforms.nuclei import SegmentNuclei, SegmentNucleid, glass_mask, hematoxylin
from hmgdm_monai.transforms.stain import LIGHT, REFERENCE_STAINS


def stain(hematoxylin_map: np.ndarray, eosin: float = 0.3, seed: int = 0) -> np.ndarray:
    """(3, H, W) uint8 of a map of hematoxylin over even eosin, with the noise of a camera."""
    concentrations = np.stack([hematoxylin_map, np.full_like(hematoxylin_map, eosin)])
    light = LIGHT * np.exp(-np.einsum("cs,shw->chw", REFERENCE_STAINS, concentrations))
    noise = np.random.default_rng(seed).normal(0, 3, light.shape)
    return np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)


def discs(mpp: float, side_um: float = 128.0, radius_um: float = 4.0, step_um: float = 16.0) -> np.ndarray:
    """(H, W) numbers of discs on a grid, 1 up."""
    size = round(side_um / mpp)
    y, x = (np.mgrid[:size, :size] + 0.5) * mpp
    near = (y % step_um - step_um / 2) ** 2 + (x % step_um - step_um / 2) ** 2 <= radius_um**2
    return label(near)[0]


@pytest.fixture(scope="module")
def tile() -> np.ndarray:
    return np.ascontiguousarray(immunohistochemistry()[100:356, 100:356].transpose(2, 0, 1))


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_discs_are_found_at_any_scale(mpp):
    annotation = discs(mpp)
    found = SegmentNuclei()(stain(0.1 + 1.2 * (annotation > 0)), mpp)
    scores = instance_scores(found[0], annotation)
    assert scores.predicted == scores.annotated == 64
    assert scores.f1 == 1
    assert scores.dice > 0.9
    assert found.dtype == np.int32
    assert np.array_equal(np.unique(found), np.arange(65))


def test_touching_nuclei_are_split():
    size = 256
    y, x = np.mgrid[:size, :size] * 0.5
    centers = [(30 + 32 * i, 30 + 32 * j + k * 8) for i in range(3) for j in range(3) for k in (0, 1)]
    near = np.zeros((size, size), bool)
    for cy, cx in centers:
        near |= (y - cy) ** 2 + (x - cx) ** 2 <= 4.5**2
    assert label(near)[1] == 9
    assert SegmentNuclei()(stain(0.1 + 1.2 * near), 0.5).max() == 18


def test_a_pale_middle_is_filled_and_the_lumen_of_a_ring_of_nuclei_is_not():
    size = 256
    y, x = np.mgrid[:size, :size] * 0.5 - 64
    radius = np.hypot(y, x)
    gland = np.abs(radius - 25) < 4
    vesicular = (radius < 5) & (radius > 3)
    assert SegmentNuclei()(stain(0.1 + 1.2 * vesicular), 0.5)[0][128, 128] == 1
    # With no upper bound on size, so that the ring itself stands.
    assert SegmentNuclei(max_area_um2=1e9)(stain(0.1 + 1.2 * gland), 0.5)[0][128, 128] == 0


@pytest.mark.parametrize(
    "image",
    [
        np.full((3, 96, 96), 255, np.uint8),
        np.zeros((3, 96, 96), np.uint8),
        stain(np.full((96, 96), 0.2)),
        stain(np.full((96, 96), 1.5)),
        stain(np.zeros((96, 96)), eosin=0.0),
        stain(0.2 + 0.1 * np.sin(np.arange(96) / 4)[None].repeat(96, 0)),
    ],
    ids=["glass", "black", "stroma", "dark throughout", "glass with noise", "fibers"],
)
@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_a_tile_without_nuclei_gives_none(image, mpp):
    assert not SegmentNuclei()(image, mpp).any()


def test_what_has_not_the_size_of_a_nucleus_is_left_out():
    size = 256
    y, x = np.mgrid[:size, :size] * 0.5
    dot, nucleus = ((y - 64) ** 2 + (x - cx) ** 2 <= r**2 for cx, r in ((12, 1.2), (30, 4)))
    image = stain(0.1 + 1.2 * (dot | nucleus))
    found = SegmentNuclei()(image, 0.5)[0]
    assert found.max() == 1
    assert found[128, 60] == 1
    assert not SegmentNuclei(max_area_um2=40)(image, 0.5).any()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_tile_turns_the_nuclei(tile, turns):
    """But for ties and rounding: at most one pixel in 200 differs, and one nucleus in 50 is split elsewhere."""
    straight = SegmentNuclei()(tile, 0.5)
    turned = SegmentNuclei()(np.ascontiguousarray(np.rot90(tile, turns, (1, 2))), 0.5)
    back = np.rot90(turned, -turns, (1, 2))
    assert straight.max() > 50
    assert ((back > 0) != (straight > 0)).mean() <= 0.005
    assert instance_scores(back[0], straight[0], iou=0.9).f1 >= 0.98


def test_each_nucleus_is_one_piece(tile):
    found = SegmentNuclei()(tile, 0.5)[0]
    assert all(label(found == number, np.ones((3, 3)))[1] == 1 for number in range(1, found.max() + 1))


def test_the_scale_of_the_tile_hardly_matters(tile):
    fine = SegmentNuclei()(tile, 0.5)[0]
    large = zoom(tile, (1, 2, 2), order=1)
    finer = SegmentNuclei()(large, 0.25)[0]
    assert instance_scores(finer[::2, ::2], fine).dice > 0.9


def test_containers_are_kept_and_the_dictionary_version_agrees(tile):
    array = SegmentNuclei()(tile, 0.5)
    tensor = SegmentNuclei()(MetaTensor(torch.from_numpy(tile)), 0.5)
    assert isinstance(tensor, MetaTensor)
    assert tensor.dtype == torch.int32
    assert np.array_equal(tensor.numpy(), array)
    for wrapper in (SegmentNucleid("image", mpp=0.5), SegmentNucleid("image")):
        data = {"image": tile, "mpp": 0.5}
        assert np.array_equal(wrapper(data)["nuclei"], array)
        assert set(data) == {"image", "mpp"}


def test_hematoxylin_is_what_was_put_in():
    amount = np.linspace(0, 1.5, 64)[None].repeat(8, 0)
    exact = LIGHT * np.exp(-np.einsum("cs,shw->chw", REFERENCE_STAINS, np.stack([amount, 0 * amount + 0.3]))) - 1
    image = np.rint(exact).astype(np.uint8).transpose(1, 2, 0)
    assert np.abs(hematoxylin(image) - amount).max() < 0.03


def test_glass_is_what_is_bright():
    image = np.full((64, 64, 3), 240, np.uint8)
    image[:, 32:] = (230, 160, 200)
    glass = glass_mask(image, 0.5)
    assert glass[:, :28].all()
    assert not glass[:, 36:].any()


@pytest.mark.parametrize("mpp", [None, 0.0, -1.0, float("nan"), 4.0])
def test_an_impossible_scale_is_told(tile, mpp):
    with pytest.raises(InputError, match="um per pixel"):
        SegmentNuclei()(tile, mpp)


def test_bad_input(tile):
    with pytest.raises(InputError, match="uint8"):
        SegmentNuclei()(tile.astype(float), 0.5)
    with pytest.raises(InputError, match="key 'mpp' holds no microns"):
        SegmentNucleid("image")({"image": tile})
    with pytest.raises(ValueError, match="sigma_um"):
        SegmentNuclei(sigma_um=-1)
    with pytest.raises(ValueError, match="max_area_um2"):
        SegmentNuclei(max_area_um2=5)
