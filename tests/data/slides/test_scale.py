"""Microns per pixel: bounds, axes, and tags in all their spellings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from hmgdm_monai.data.slides.scale import plausible_mpp, square_mpp, tag_mpp
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError


@given(st.one_of(st.floats(), st.text(), st.none(), st.integers()))
def test_only_a_microscopes_pixel_is_plausible(value):
    found = plausible_mpp(value)
    assert found is None or 0.05 <= found <= 20


@pytest.mark.parametrize(
    ("axes", "mpp"),
    [((0.5, 0.5), 0.5), ((0.5, 0.508), 0.504), ((None, 0.25), 0.25), ((0.25, None), 0.25), ((None, None), None)],
)
def test_two_axes_become_one_number_where_pixels_are_square(axes, mpp):
    assert square_mpp(Path("a.tif"), axes) == (None if mpp is None else pytest.approx(mpp))


@pytest.mark.parametrize("axes", [(1.0, 0.5), (0.5, 1.0), (0.5, 0.515)])
def test_pixels_that_are_not_square_are_refused_in_one_line(axes):
    with pytest.raises(InputError, match=r"^a.tif: its pixels are not square.*manifest$"):
        square_mpp(Path("a.tif"), axes)


@pytest.mark.parametrize(
    ("description", "resolution", "expected"),
    [
        (None, (10_000, 20_000, "CENTIMETER"), (1.0, 0.5)),
        (None, (50_800, 50_800, "INCH"), (0.5, 0.5)),
        (None, (72, 72, "INCH"), (None, None)),
        (None, (10_000_000, 10_000_000, "CENTIMETER"), (None, None)),
        (None, (20_000, 20_000, "NONE"), (None, None)),
        ("Aperio Image|MPP = 0.2525|AppMag = 40", (72, 72, "INCH"), (0.2525, 0.2525)),
        ("Aperio Image|MPP = 0,2525", None, (0.2525, 0.2525)),
        ("Aperio Image|MPP = 40", None, (None, None)),
    ],
)
def test_tags_in_their_spellings(tmp_path, description, resolution, expected):
    options = {} if resolution is None else {"resolution": resolution[:2], "resolutionunit": resolution[2]}
    pixels = np.zeros((32, 32, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", description=description, metadata=None, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tag_mpp(tif.pages[0]) == tuple(None if mpp is None else pytest.approx(mpp) for mpp in expected)


@pytest.mark.parametrize("how", ["tags", "ome"])
def test_an_anisotropic_slide_is_left_out_unless_the_user_says_its_scale(tmp_path, stained, how):
    pixels, path = stained(128, 256), tmp_path / "a.tif"
    options = {"photometric": "rgb", "tile": (64, 64)}
    if how == "tags":
        tifffile.imwrite(path, pixels, metadata=None, resolution=(1e4, 2e4), resolutionunit="CENTIMETER", **options)
    else:
        told = {"axes": "YXS", "PhysicalSizeX": 1.0, "PhysicalSizeY": 0.5}
        tifffile.imwrite(path, pixels, ome=True, metadata=told, **options)
    with pytest.raises(InputError, match="not square, 1 um wide and 0.5 um high"):
        open_slide(path)
    assert open_slide(path, mpp=0.5).mpp == 0.5
