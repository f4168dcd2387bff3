from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.data.tiles.tissue import tissue_mask


@pytest.fixture
def glass():
    return np.clip(np.random.default_rng(0).normal(243, 2, (200, 300, 3)), 0, 255).astype(np.uint8)


def test_tissue_on_glass_is_found_and_dust_is_not(glass, stained):
    glass[50:120, 80:220] = stained(140, 70)
    glass[10:12, 10:12] = (200, 60, 120)
    expected = np.zeros(glass.shape[:2], bool)
    expected[50:120, 80:220] = True
    mask = tissue_mask(glass)
    assert (mask & expected).sum() / (mask | expected).sum() > 0.95
    assert not mask[:30, :30].any()


def test_glass_alone_is_no_tissue(glass):
    assert not tissue_mask(glass).any()
    assert not tissue_mask(np.full((60, 60, 3), 255, np.uint8)).any()
    tinted = np.clip(glass.astype(int) - [0, 3, 9], 0, 255).astype(np.uint8)
    assert not tissue_mask(tinted).any()


def test_tissue_alone_is_all_tissue(stained):
    assert tissue_mask(stained(300, 200)).mean() > 0.97


def test_black_is_no_tissue(glass):
    glass[:, 200:] = 0
    assert not tissue_mask(glass).any()
    assert not tissue_mask(np.zeros((50, 50, 3), np.uint8)).any()


def test_gray_slide_goes_by_darkness(glass):
    gray = np.repeat(glass[..., :1], 3, -1)
    gray[50:120, 80:220] = 120
    mask = tissue_mask(gray)
    assert mask[55:115, 85:215].all()
    assert mask.sum() < 1.1 * 70 * 140


def test_one_pixel_and_wrong_input():
    assert tissue_mask(np.full((1, 1, 3), 255, np.uint8)).shape == (1, 1)
    with pytest.raises(ValueError, match="uint8"):
        tissue_mask(np.zeros((5, 5), np.uint8))
