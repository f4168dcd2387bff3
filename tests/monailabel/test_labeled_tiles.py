from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from lib.labeled_tiles import labeled_tiles
from lib.labels import RegionLabel, TileLabel
from PIL import Image

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError

SPEC = TileSpec(size_px=64, mpp=0.5)  # 128 level-0 px of the slide below


@pytest.fixture(scope="module")
def slide(tmp_path_factory, write_tiff, stained):
    """512 x 256 px at 0.25 um: 4 x 2 tiles."""
    path = write_tiff(tmp_path_factory.mktemp("labelled") / "a.tif", [stained(512, 256)], mpp=0.25)
    with closing(open_slide(path)) as slide:
        yield slide


def square(x0, y0, x1, y1) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def found(slide, *labels) -> dict[tuple[float, float], int]:
    locations, indices = labeled_tiles(slide, SPEC, labels)
    return {tuple(where): int(index) for where, index in zip(locations, indices, strict=True)}


def test_tiles_by_their_corners_are_where_they_are(slide):
    assert found(slide, TileLabel(1, (128.0, 0.0)), TileLabel(0, (13.5, 100.0))) == {(128, 0): 1, (13.5, 100): 0}


def test_a_region_labels_the_tiles_whose_center_it_holds(slide):
    # Centers are at x 64, 192, 320, 448 and y 64, 192.
    assert found(slide, RegionLabel(1, square(60, 60, 200, 70))) == {(0, 0): 1, (128, 0): 1}
    assert found(slide, RegionLabel(0, square(-9, -9, 600, 300)[::-1])) == {
        (x, y): 0 for x in range(0, 512, 128) for y in (0, 128)
    }
    triangle = np.array([[0, 0], [512, 0], [0, 256]], float)
    assert set(found(slide, RegionLabel(0, triangle))) == {(0, 0), (128, 0), (256, 0), (0, 128)}


def test_the_later_of_two_labels_counts(slide):
    both = found(slide, RegionLabel(0, square(0, 0, 512, 256)), RegionLabel(1, square(130, 0, 250, 127)))
    assert both == {(x, y): int((x, y) == (128, 0)) for x in range(0, 512, 128) for y in (0, 128)}
    assert found(slide, TileLabel(0, (0.0, 0.0)), TileLabel(1, (0.0, 0.0))) == {(0, 0): 1}


def test_what_names_no_tile_is_refused(slide):
    with pytest.raises(InputError, match="is larger than a tile, so one label does not tell which part is meant"):
        labeled_tiles(slide, SPEC, [TileLabel(0, None)])
    with pytest.raises(InputError, match=r"at \[512.0, 0.0\] lies outside of the image of 512 x 256 px"):
        labeled_tiles(slide, SPEC, [TileLabel(0, (512.0, 0.0))])
    with pytest.raises(InputError, match="no tile with tissue has its center in a labeled region"):
        labeled_tiles(slide, SPEC, [RegionLabel(0, square(70, 70, 120, 120))])


def test_a_plain_tile_has_one_label(tmp_path, stained):
    Image.fromarray(stained(64, 64)).save(tmp_path / "tile.png")
    with closing(open_slide(tmp_path / "tile.png")) as tile:
        assert found(tile, TileLabel(1, None)) == {(0, 0): 1}
        assert found(tile, RegionLabel(1, square(0, 0, 64, 64))) == {(0, 0): 1}
