from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec, share_in_mask, tile_locations
from hmgdm_monai.errors import InputError


@pytest.fixture(scope="module")
def slide(tmp_path_factory, write_tiff, stained):
    """1600 x 1200 px at 0.5 um; tissue at x 400 to 1200, y 300 to 900."""
    pixels = np.full((1200, 1600, 3), 245, np.uint8)
    pixels[300:900, 400:1200] = stained(800, 600)
    levels = [pixels, pixels[::4, ::4]]
    return open_slide(write_tiff(tmp_path_factory.mktemp("tiling") / "a.tif", levels, compression="zlib"))


def test_tiles_lie_on_tissue_row_by_row(slide):
    spec = TileSpec(size_px=50, mpp=1.0)
    locations = tile_locations(slide, spec)
    assert locations.dtype == np.int64
    # 100 level-0 px a tile; the tissue is 8 x 6 of them.
    expected = [(x, y) for y in range(300, 900, 100) for x in range(400, 1200, 100)]
    assert locations.tolist() == [list(xy) for xy in expected]
    np.testing.assert_array_equal(tile_locations(slide, spec), locations)


def test_every_tissue_pixel_is_in_a_tile_at_an_mpp_off_the_pyramid(slide):
    spec = TileSpec(size_px=64, mpp=0.83, overlap_px=9, min_tissue=0.02)
    seen = np.zeros((1400, 1800), bool)
    span = round(64 * 0.83 / 0.5)
    for x, y in tile_locations(slide, spec):
        seen[y : y + span, x : x + span] = True
    assert seen[310:890, 410:1190].all()


@pytest.mark.parametrize(("overlap", "step"), [(0, 64), (16, 48), (63, 1)])
def test_overlap_sets_the_step(tmp_path, write_tiff, stained, overlap, step):
    slide = open_slide(write_tiff(tmp_path / "a.tif", [stained(160, 128)]))
    locations = tile_locations(slide, TileSpec(size_px=64, mpp=0.5, overlap_px=overlap, min_tissue=0))
    assert np.unique(np.diff(np.unique(locations[:, 0]))).tolist() == [step]
    assert locations[:, 0].max() + 64 >= 160
    assert locations[:, 0].max() < 160
    assert locations[:, 1].max() + 64 >= 128


def test_least_share_of_tissue_decides(slide):
    counts = [len(tile_locations(slide, TileSpec(96, 1.0, min_tissue=share))) for share in (0, 0.01, 0.5, 0.9)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 9 * 7  # the whole slide, 192 level-0 px a tile
    assert counts[0] > counts[1] > counts[3]


def test_slide_without_tissue_is_one_clear_line(tmp_path, write_tiff):
    slide = open_slide(write_tiff(tmp_path / "blank.tif", [np.full((1024, 1024, 3), 250, np.uint8)]))
    with pytest.raises(InputError, match=r"blank\.tif: no tissue found"):
        tile_locations(slide, TileSpec(128, 0.5))


def test_plain_image_of_a_tiles_size_is_one_tile_whatever_it_shows(tmp_path, stained):
    for name, pixels in {"blank": np.full((256, 256, 3), 255, np.uint8), "odd": stained(200, 300)}.items():
        for suffix in ("png", "jpg"):
            Image.fromarray(pixels).save(tmp_path / f"{name}.{suffix}")
            slide = open_slide(tmp_path / f"{name}.{suffix}")
            assert tile_locations(slide, TileSpec(256, 1.0)).tolist() == [[0, 0]]
            assert slide.read_regions([[0, 0]], 256, 1.0).shape == (1, 256, 256, 3)
    Image.fromarray(stained(600, 600)).save(tmp_path / "large.png")
    assert len(tile_locations(open_slide(tmp_path / "large.png"), TileSpec(256, 1.0, min_tissue=0.01))) == 9
    Image.fromarray(stained(256, 256)).save(tmp_path / "tile.tif")
    assert tile_locations(open_slide(tmp_path / "tile.tif", mpp=1.0), TileSpec(256, 1.0)).tolist() == [[0, 0]]


def test_unknown_mpp_asks_for_the_manifest_column(tmp_path, write_tiff, stained):
    slide = open_slide(write_tiff(tmp_path / "a.tif", [stained(600, 600)], mpp=None))
    with pytest.raises(InputError, match="manifest's mpp column"):
        tile_locations(slide, TileSpec())


@pytest.mark.parametrize(
    "bad",
    [
        {"size_px": 0},
        {"size_px": 12.5},
        {"size_px": True},
        {"mpp": 0},
        {"mpp": float("nan")},
        {"overlap_px": 256},
        {"overlap_px": -1},
        {"min_tissue": 1.1},
        {"min_tissue": float("nan")},
    ],
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        TileSpec(**bad)


@settings(max_examples=60, deadline=None)
@given(x=st.integers(-5, 25), y=st.integers(-5, 25), span=st.integers(1, 20), seed=st.integers(0, 5))
def test_share_of_tissue_is_the_mean_of_the_mask(x, y, span, seed):
    mask = np.random.default_rng(seed).random((17, 23)) < 0.4
    padded = np.zeros((60, 60))
    padded[10:27, 10:33] = mask
    expected = padded[10 + y : 10 + y + span, 10 + x : 10 + x + span].mean()
    assert share_in_mask(mask, np.array([x]), np.array([y]), span)[0] == pytest.approx(expected)


def test_a_scale_that_makes_millions_of_tiles_is_one_clear_line(slide):
    coarse = open_slide(slide.path, mpp=20.0)
    with pytest.raises(InputError, match=r"1600 x 1200 px at 20.0 um would make 4.8e\+09 tiles of 16 px at 0.05 um"):
        tile_locations(coarse, TileSpec(size_px=16, mpp=0.05, overlap_px=8, min_tissue=0))
