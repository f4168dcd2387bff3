from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from lib.regions import Region, is_tile, number, read_tiles, region_of, tiles_in, tiles_over
from PIL import Image

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec, tile_locations
from hmgdm_monai.errors import InputError

SPEC = TileSpec(size_px=64, mpp=0.5)  # 128 level-0 px of the slide below


@pytest.fixture(scope="module")
def slide(tmp_path_factory, write_tiff, stained):
    """1024 x 768 px at 0.25 um, tissue all over."""
    pixels = stained(1024, 768)
    path = write_tiff(tmp_path_factory.mktemp("regions") / "a.tif", [pixels, pixels[::4, ::4]], mpp=0.25)
    with closing(open_slide(path)) as slide:
        yield slide


def test_requests_name_a_region_or_the_whole():
    assert region_of({}) is None
    assert region_of({"location": [0, 0], "size": [0, 0]}) is None
    assert region_of({"location": [-1, -1], "size": [-1, -1]}) is None
    assert region_of({"location": [5, 6]}) == Region(5, 6, 0, 0)
    assert region_of({"location": (0, 0), "size": (7, 8)}) == Region(0, 0, 7, 8)


@pytest.mark.parametrize(
    "request_",
    [
        {"location": 5},
        {"location": [1, 2, 3]},
        {"size": ["a", 1]},
        {"size": [1, -1]},
        {"size": [1, np.inf]},
        {"size": [1, np.nan]},
        {"location": [10**400, 1]},
        {"location": [-1e300, 1]},
    ],
)
def test_what_is_no_region_is_refused(request_):
    with pytest.raises(InputError, match=r"two numbers|must not be negative") as caught:
        region_of(request_)
    assert len(str(caught.value)) < 200


def test_numbers_of_a_request():
    assert number({}, "mpp", None) is None
    assert number({"mpp": 0.5}, "mpp", None) == 0.5
    for bad in (0, -1, "a", True, float("nan"), float("inf"), 10**400):
        with pytest.raises(InputError, match="mpp must be a positive number"):
            number({"mpp": bad}, "mpp", None)


def test_parts_that_cover_the_slide_give_each_tile_once(slide):
    whole = tiles_in(slide, SPEC, None)
    np.testing.assert_array_equal(whole, tile_locations(slide, SPEC))
    edges_x, edges_y = [0, 300, 701, 1024], [0, 97, 768]
    parts = [
        tiles_in(slide, SPEC, Region(x0, y0, x1 - x0, y1 - y0))
        for x0, x1 in zip(edges_x, edges_x[1:], strict=False)
        for y0, y1 in zip(edges_y, edges_y[1:], strict=False)
    ]
    assert sorted(map(tuple, np.concatenate(parts))) == sorted(map(tuple, whole))


def test_a_region_without_extent_is_the_tile_with_that_corner(slide):
    assert tiles_over(slide, SPEC, Region(37, 41)).tolist() == [[37, 41]]


def test_a_region_is_covered_around_its_own_center(slide):
    assert tiles_over(slide, SPEC, Region(100, 200, 256, 128)).tolist() == [[100, 200], [228, 200]]
    found = tiles_over(slide, SPEC, Region(100, 200, 300, 150))  # 2.3 x 1.2 tiles
    assert found.tolist() == [[122, 211], [250, 211]]
    np.testing.assert_allclose(found.mean(0) + 64, (100 + 150, 200 + 75))
    # A region smaller than a tile is seen with what is around it.
    assert tiles_over(slide, SPEC, Region(100, 200, 28, 28)).tolist() == [[50, 150]]


def test_a_region_beside_the_slide_is_refused(slide):
    for region in (Region(1024, 0), Region(0, 768), Region(-500, 0, 400, 400)):
        with pytest.raises(InputError, match="lies outside of the image of 1024 x 768 px"):
            tiles_over(slide, SPEC, region)


@pytest.mark.parametrize("side", [1024 + 128, 2**31])
def test_a_region_of_too_many_tiles_is_refused_before_they_are_listed(slide, side):
    assert len(tiles_over(slide, SPEC, Region(0, 0, 1024, 1024))) == 64
    with pytest.raises(InputError, match=r"the region has \d+ tiles, more than 64; .*setting region_tiles"):
        tiles_over(slide, SPEC, Region(0, 0, side, side))
    with pytest.raises(InputError, match="the region has 2 tiles, more than 1"):
        tiles_over(slide, SPEC, Region(0, 0, 256, 128), 1)


def test_batches_are_the_pixels_at_the_locations(slide):
    locations = tiles_in(slide, SPEC, None)
    batches = list(read_tiles(slide, SPEC, locations, batch_tiles=5))
    assert {len(batch) for batch in batches[:-1]} == {5}
    pixels = np.concatenate(batches)
    assert pixels.shape == (len(locations), 3, 64, 64) and pixels.dtype == np.uint8
    whole = slide.read_region(0, 0, 1024, 768)
    for (x, y), tile in list(zip(locations, pixels, strict=True))[::7]:
        halved = whole[y : y + 128, x : x + 128].reshape(64, 2, 64, 2, 3).mean((1, 3)).transpose(2, 0, 1)
        assert np.abs(halved - tile).mean() < 1.5


def test_plain_images_of_a_tiles_size_are_tiles_and_slides_are_not(slide, tmp_path, stained):
    assert not is_tile(slide, SPEC)
    for side, expected in ((60, True), (96, True), (128, False)):
        Image.fromarray(stained(side, side)).save(tmp_path / f"{side}.png")
        with closing(open_slide(tmp_path / f"{side}.png")) as image:
            assert is_tile(image, SPEC) is expected
