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


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


def fat(width, height):
    """Adipose tissue: round white cells of 8 px with thin, pale pink walls."""
    y, x = np.mgrid[:height, :width]
    x = x + 4 * (y // 8 % 2)
    wall = np.hypot(x % 8 - 3.5, y % 8 - 3.5) > 3
    return np.where(wall[..., None], (228, 190, 214), (243, 240, 242)).astype(np.uint8)


@pytest.fixture
def section(glass, stained):
    """A piece of tissue with fat beside it, on glass."""
    glass[50:120, 80:150] = stained(70, 70)
    glass[50:120, 150:220] = fat(70, 70)
    return glass


@pytest.mark.parametrize("tint", [(1.0, 0.96, 0.85), (0.95, 0.9, 0.72), (0.9, 0.95, 0.88)])
def test_yellowed_glass_is_no_tissue_and_tissue_on_it_is_the_same(section, glass, tint):
    expected = tissue_mask(section)
    assert expected[55:115, 85:145].all()
    assert expected[55:115, 155:215].mean() > 0.3  # the walls of the fat cells
    yellowed = np.rint(section * np.array(tint)).astype(np.uint8)
    mask = tissue_mask(yellowed)
    assert overlap(mask, expected) > 0.95
    assert mask[55:115, 155:215].mean() > 0.95 * expected[55:115, 155:215].mean()
    empty = np.rint(glass[:40] * np.array(tint)).astype(np.uint8)
    assert not tissue_mask(empty).any()


def test_yellowed_glass_in_white_fill_is_no_tissue(section):
    slide = np.full((300, 400, 3), 255, np.uint8)
    slide[50:250, 50:350] = np.rint(section * np.array((0.98, 0.94, 0.8)))
    mask = tissue_mask(slide)
    assert overlap(mask[50:250, 50:350], tissue_mask(section)) > 0.95
    assert mask.sum() == mask[50:250, 50:350].sum()


@pytest.mark.parametrize("fill", [(0, 0, 0), (24, 20, 22), (40, 32, 36), (60, 60, 60), (128, 128, 128)])
def test_dark_fill_is_no_tissue_and_hides_none(section, fill):
    expected = tissue_mask(section)
    noise = np.random.default_rng(1).normal(0, 2, (200, 60, 3))
    section[:, :60] = np.clip(fill + noise, 0, 255)
    mask = tissue_mask(section)
    assert not mask[:, :57].any()
    assert overlap(mask[:, 65:], expected[:, 65:]) > 0.97


def test_pale_tissue_that_fills_the_image_is_not_taken_for_glass():
    assert tissue_mask(fat(300, 200)).mean() > 0.45  # the walls
    pale = np.clip(np.random.default_rng(2).normal((236, 205, 222), 3, (200, 300, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(pale).mean() > 0.9
