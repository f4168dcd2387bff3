"""Each score tells its artifact, and no score depends on how much tissue there is or how strongly it is stained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.quality_scores import QualityScores, quality_scores

LIGHT = 240.0


def scores(pixels: np.ndarray, mpp: float | None = 1.0) -> QualityScores:
    """Scores of (H, W, 3) pixels."""
    return quality_scores(np.ascontiguousarray(pixels.transpose(2, 0, 1)), mpp)


def stronger(pixels: np.ndarray, factor: float) -> np.ndarray:
    density = -np.log(np.maximum(pixels, 1) / LIGHT)
    return np.clip(np.rint(LIGHT * np.exp(-factor * density)), 0, 255).astype(np.uint8)


def blurred(pixels: np.ndarray, sigma_px: float) -> np.ndarray:
    return np.rint(ndimage.gaussian_filter(pixels.astype(np.float32), (sigma_px, sigma_px, 0))).astype(np.uint8)


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    """256 x 256 px of eosin with dark nuclei of sharp outline."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    amount = np.zeros((256, 256))
    for cx, cy, r in zip(rng.uniform(0, 256, 260), rng.uniform(0, 256, 260), rng.uniform(3, 6, 260), strict=True):
        amount = np.maximum(amount, np.clip(r - np.hypot(x - cx, y - cy), 0, 1))
    amount = ndimage.gaussian_filter(amount, 0.6)
    texture = 1 + 0.15 * ndimage.gaussian_filter(rng.normal(size=(256, 256)), 0.7)
    density = amount[..., None] * [0.65, 0.70, 0.29] + 0.45 * texture[..., None] * [0.07, 0.99, 0.45]
    return np.rint(LIGHT * np.exp(-density)).astype(np.uint8)


def test_focus_tells_blur(sharp: np.ndarray) -> None:
    values = [scores(blurred(sharp, sigma)).focus for sigma in (0.0, 1.0, 2.0, 4.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 4
    assert values[2] < 3


def test_focus_depends_neither_on_the_strength_of_the_stain_nor_on_the_amount_of_tissue(sharp: np.ndarray) -> None:
    whole = scores(sharp).focus
    assert scores(stronger(sharp, 0.7)).focus == pytest.approx(whole, rel=0.15)
    assert scores(stronger(sharp, 1.4)).focus == pytest.approx(whole, rel=0.15)
    part = np.full_like(sharp, 242)
    part[:, :100] = sharp[:, :100]
    assert scores(part).focus == pytest.approx(whole, rel=0.15)


def test_a_third_of_the_tissue_out_of_focus_is_enough_and_a_tenth_is_not(sharp: np.ndarray) -> None:
    soft = blurred(sharp, 4.0)
    third, tenth = sharp.copy(), sharp.copy()
    third[:, :96], tenth[:, :26] = soft[:, :96], soft[:, :26]
    assert scores(third).focus < 3 < scores(tenth).focus


def test_scores_hardly_change_with_the_resolution(sharp: np.ndarray) -> None:
    fine = np.repeat(np.repeat(sharp, 2, axis=0), 2, axis=1)
    assert scores(fine, 0.5) == pytest.approx(scores(sharp, 1.0))


@pytest.mark.parametrize("ink", [(40, 70, 190), (50, 170, 80), (200, 36, 45), (30, 30, 33)])
def test_ink_on_tissue_and_on_glass_is_found(sharp: np.ndarray, ink: tuple[int, int, int]) -> None:
    marked = sharp.copy()
    marked[:, 128:] = 242
    before = scores(marked)
    marked[80:140] = np.rint(marked[80:140] / 242.0 * ink)
    assert before.pen == 0
    assert scores(marked).pen == pytest.approx(60 / 256, abs=0.06)


def test_nuclei_and_thin_lines_are_no_ink(sharp: np.ndarray) -> None:
    assert scores(stronger(sharp, 1.5)).pen == 0
    marked = sharp.copy()
    marked[100:104] = (30, 30, 33)
    assert scores(marked).pen == 0


def test_a_band_of_double_density_is_a_fold_and_a_dense_tile_is_not(sharp: np.ndarray) -> None:
    eosin = stronger(sharp, 1.6)
    folded = eosin.copy()
    folded[100:150] = stronger(eosin, 2.0)[100:150]
    assert scores(eosin).fold == 0
    assert scores(stronger(eosin, 2.0)).fold == 0
    assert scores(folded).fold == pytest.approx(50 / 256, abs=0.08)
    assert scores(folded.transpose(1, 0, 2)).fold == pytest.approx(scores(folded).fold, abs=0.02)


def test_dark_is_the_share_of_black(sharp: np.ndarray) -> None:
    black = sharp.copy()
    black[:, :64] = 3
    assert scores(black).dark == pytest.approx(0.25, abs=0.03)
    assert scores(black).pen == 0
    assert scores(sharp).dark == 0


def test_glass_has_no_focus_and_no_artifact() -> None:
    found = scores(np.full((64, 64, 3), 243, np.uint8))
    assert np.isnan([found.focus, found.saturation]).all()
    assert (found.pen, found.fold, found.dark) == (0, 0, 0)


@pytest.mark.parametrize("side", [1, 7, 33, 50])
def test_small_tiles_are_scored(sharp: np.ndarray, side: int) -> None:
    found = scores(sharp[:side, :side], 4.0)
    assert 0 <= found.pen <= 1
    assert 0 <= found.fold <= 1


def test_tensors_and_bad_input(sharp: np.ndarray) -> None:
    tensor = torch.from_numpy(np.ascontiguousarray(sharp.transpose(2, 0, 1)))
    assert quality_scores(tensor, 1.0) == scores(sharp)
    with pytest.raises(InputError, match="uint8"):
        quality_scores(tensor.float())
