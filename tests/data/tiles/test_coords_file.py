"""Files of coordinates as CLAM and TRIDENT write them: places, and the side of a tile at level 0."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hmgdm_monai.data.tiles.coords_file import read_coords
from hmgdm_monai.errors import InputError

PLACES = [[0, 0], [512, 0], [37, 1024]]
TRIDENT = {
    "patch_size": 256,
    "patch_size_level0": 512,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "a",
    "savetodir": "20x_256px_0px_overlap",
}
CLAM = {
    "patch_size": 256,
    "patch_level": 1,
    "downsample": (4.0, 4.0),
    "downsampled_level_dim": (5000, 4000),
    "level_dim": (5000, 4000),
    "name": "a",
    "save_path": "patches",
}


@pytest.fixture
def write(tmp_path):
    def write(attrs, coords=PLACES, name="coords", on_file=False):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file[name] = np.asarray(coords) if np.asarray(coords).dtype.kind != "U" else np.asarray(coords, "S")
            (file if on_file else file[name]).attrs.update(attrs)
        return tmp_path / "a.h5"

    return write


def without(attrs, *names):
    return {name: value for name, value in attrs.items() if name not in names}


@pytest.mark.parametrize(
    ("attrs", "side", "size"),
    [
        (TRIDENT, 512, 256),
        (without(TRIDENT, "patch_size_level0"), 512, 256),
        (CLAM, 1024, 256),
        ({**CLAM, "downsample": 4.0}, 1024, 256),
        ({**CLAM, "downsample": (4.0, 4.002)}, 1024, 256),
        ({"patch_size": 256, "patch_level": 0}, 256, 256),
        ({"patch_size": 256, "patch_level": 0, "custom_downsample": 2}, 512, 256),
        ({"tile_size_level0": 384.5, "tile_size_px": 64}, 384.5, 64),
        ({"patch_size_level0": 300}, 300, None),
    ],
)
@pytest.mark.parametrize("on_file", [False, True])
def test_places_and_side_at_level_0(write, attrs, side, size, on_file):
    found = read_coords(write(attrs, on_file=on_file))
    assert found.locations_px.tolist() == PLACES
    assert found.locations_px.dtype == np.int64
    assert found.side_px == pytest.approx(side, rel=1e-3)
    assert found.size_px == size


def test_a_leading_axis_is_dropped_and_a_place_counts_once(write):
    assert read_coords(write(TRIDENT, [PLACES])).locations_px.tolist() == PLACES
    assert read_coords(write(TRIDENT, [*PLACES, PLACES[1]])).locations_px.tolist() == PLACES
    assert read_coords(write(TRIDENT, np.array(PLACES, float) + 0.4)).locations_px.tolist() == PLACES


@pytest.mark.parametrize(
    ("attrs", "coords", "wanted"),
    [
        ({}, PLACES, "patch_size_level0"),
        ({"patch_size": 256}, PLACES, "patch_size_level0"),
        ({"patch_size": 256, "patch_level": 1}, PLACES, "patch_size_level0"),
        ({"patch_size_level0": 0}, PLACES, "patch_size_level0"),
        ({"patch_size_level0": np.nan}, PLACES, "patch_size_level0"),
        ({"patch_size_level0": "512"}, PLACES, "patch_size_level0"),
        ({**CLAM, "downsample": (4.0, 8.0)}, PLACES, "not square"),
        (TRIDENT, np.zeros((0, 2), int), "no tile"),
        (TRIDENT, [1, 2, 3], "one x, y for each tile"),
        (TRIDENT, [[1, 2, 3]], "one x, y for each tile"),
        (TRIDENT, [[0.0, np.nan]], "coords are not finite or too large"),
        (TRIDENT, [[0.0, 1e300]], "coords are not finite or too large"),
        (TRIDENT, [["a", "b"]], "no numbers, but text"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(write, attrs, coords, wanted):
    with pytest.raises(InputError, match=wanted) as caught:
        read_coords(write(attrs, coords))
    assert "\n" not in str(caught.value)
    assert "a.h5" in str(caught.value)


def test_what_is_no_file_of_coordinates(write, tmp_path):
    with pytest.raises(InputError, match="no data set `coords`.* imgs"):
        read_coords(write(TRIDENT, name="imgs"))
    with pytest.raises(InputError, match="no such file"):
        read_coords(tmp_path / "none.h5")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF no")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_coords(tmp_path / "b.h5")
