"""Where the tiles of a row lie: on the grid, at given places, in regions."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.row_locations import row_locations
from hmgdm_monai.data.tiles.tiling import TileSpec, tile_locations
from hmgdm_monai.errors import InputError

SPEC = TileSpec(64, 0.5)
MPP = 0.25  # so a tile is 128 level-0 px
PLACES = [[5, 7], [300, 200], [133, 7]]


@pytest.fixture(scope="module")
def image(tmp_path_factory, stained, write_tiff):
    """A slide of 512 x 384 px, all tissue."""
    return write_tiff(tmp_path_factory.mktemp("rows") / "a.tif", [stained(512, 384)], mpp=MPP, compression="zlib")


@pytest.fixture
def find(image, tmp_path):
    """Function that finds the tiles of a row with coordinates and regions."""

    def find(places=None, side=128, box=None, spec=SPEC, path=image, **attrs):
        files = {}
        if places is not None:
            with h5py.File(tmp_path / "a_patches.h5", "w") as file:
                file["coords"] = np.asarray(places)
                file["coords"].attrs.update({"patch_size_level0": side, **attrs})
            files["coords"] = tmp_path / "a_patches.h5"
        if box is not None:
            left, top, right, bottom = box
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
            (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
            files["regions"] = tmp_path / "a.geojson"
        return row_locations(open_slide(path), ManifestRow(path, "P", 2, **files), spec)

    return find


def test_without_either_it_is_the_grid(find, image):
    np.testing.assert_array_equal(find(), tile_locations(open_slide(image), SPEC))


def test_given_places_are_taken_as_they_stand(find):
    assert find(PLACES).tolist() == PLACES
    assert find([[-100, -100], [500, 380]]).tolist() == [[-100, -100], [500, 380]]  # partly outside, white there


def test_given_places_take_no_account_of_tissue(find, tmp_path, write_tiff):
    blank = write_tiff(tmp_path / "blank.tif", [np.full((384, 512, 3), 250, np.uint8)], mpp=MPP)
    assert find(PLACES, path=blank).tolist() == PLACES
    with pytest.raises(InputError, match="no tissue"):
        find(path=blank)


@pytest.mark.parametrize("side", [126, 130])
def test_scanners_differ_in_the_last_digits(find, side):
    assert find(PLACES, side).tolist() == PLACES


def test_tiles_of_another_size_are_refused_with_the_settings_that_fit(find):
    with pytest.raises(InputError) as caught:
        find(PLACES, side=256, patch_size=128)
    assert "tiles of a_patches.h5 are 64 um wide, ours 32 um" in str(caught.value)
    assert "tile_size_px 128 and tile_mpp 0.5" in str(caught.value)
    assert find(PLACES, side=256, spec=TileSpec(128, 0.5)).tolist() == PLACES
    with pytest.raises(InputError, match=r"tile_size_px 64 and tile_mpp 1,"):
        find(PLACES, side=256)


def test_places_of_another_slide_are_refused(find):
    with pytest.raises(InputError, match=r"2 of the 3 tiles of a_patches.h5 lie outside it \(512 x 384 px\)"):
        find([[0, 0], [512, 0], [0, -128]])


def test_regions_choose_among_the_grid_and_among_given_places(find):
    assert find(box=(0, 0, 200, 100)).tolist() == [[0, 0], [128, 0]]
    assert find(PLACES, box=(0, 0, 200, 100)).tolist() == [[5, 7], [133, 7]]
    with pytest.raises(InputError, match=r"a.tif: none of its 3 tiles has its center in a region of a.geojson"):
        find(PLACES, box=(0, 0, 20, 20))


def test_a_plain_image_of_unknown_scale_counts_as_being_at_the_tiles(find, tmp_path, stained):
    Image.fromarray(stained(256, 128)).save(tmp_path / "p.png")
    places = [[0, 0], [100, 50]]
    assert find(places, side=64, path=tmp_path / "p.png").tolist() == places
    with pytest.raises(InputError, match="are 64 um wide, ours 32 um"):
        find(places, side=128, path=tmp_path / "p.png")
