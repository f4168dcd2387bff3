"""Which pages are the slide: levels of its own series, planes of its own channels."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError

TILED = {"photometric": "rgb", "tile": (64, 64)}


@pytest.fixture(scope="module")
def scan(stained):
    return stained(256, 192)


@pytest.fixture(scope="module")
def other(stained):
    """Another scan of the same shape, half as large: what would pass for a level."""
    return stained(128, 96)[::-1].copy()


def told(name, mpp):
    return {"axes": "YXS", "Name": name, "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}


def test_a_second_series_of_an_ome_tiff_is_no_level(tmp_path, scan, other):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        tif.write(scan, metadata=told("scan 1", 0.5), **TILED)
        tif.write(other, metadata=told("scan 2", 0.5), **TILED)
    slide = open_slide(tmp_path / "a.ome.tif")
    assert (slide.level_sizes_px, slide.mpp) == ([(256, 192)], 0.5)
    halved = scan.reshape(96, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(slide.read_region(0, 0, 128, 96, 1.0) - halved).mean() < 4


def test_a_tiled_page_that_is_not_marked_as_reduced_is_no_level(tmp_path, scan, other):
    for marked in (0, 1):
        with tifffile.TiffWriter(tmp_path / f"{marked}.tif") as tif:
            tif.write(scan, metadata=None, **TILED)
            tif.write(other, metadata=None, subfiletype=marked, **TILED)
        assert len(open_slide(tmp_path / f"{marked}.tif").level_sizes_px) == 1 + marked


def test_the_largest_image_of_an_ome_tiff_is_the_slide_wherever_it_stands(tmp_path, scan):
    macro = np.full((64, 48, 3), 9, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        tif.write(macro, photometric="rgb", tile=(16, 16), metadata=told("macro", 10.0))
        tif.write(scan, metadata=told("scan", 0.5), subifds=1, **TILED)
        tif.write(scan[::2, ::2], subfiletype=1, **TILED)
    slide = open_slide(tmp_path / "a.ome.tif")
    assert (slide.mpp, slide.level_sizes_px, slide.plain) == (0.5, [(256, 192), (128, 96)], False)
    np.testing.assert_array_equal(slide.read_region(10, 20, 100, 90), scan[20:110, 10:110])
    np.testing.assert_array_equal(slide.read_region(20, 40, 50, 50, 1.0), scan[::2, ::2][20:70, 10:60])
    for backend in ("cucim", "openslide"):
        with pytest.raises(InputError, match="uses the first page as the slide"):
            open_slide(tmp_path / "a.ome.tif", backend=backend)


@pytest.mark.parametrize("names", [None, ["Red", "Green", "Blue"], ["r", "g", "b"]])
def test_planes_of_one_channel_are_joined_as_rgb(tmp_path, scan, names):
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    if names:
        metadata["Channel"] = {"Name": names}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        options = {"photometric": "minisblack", "tile": (64, 64)}
        tif.write(np.moveaxis(scan, 2, 0), metadata=metadata, subifds=1, **options)
        tif.write(np.moveaxis(scan[::2, ::2], 2, 0), subfiletype=1, **options)
    slide = open_slide(tmp_path / "a.ome.tif")
    assert slide.level_sizes_px == [(256, 192), (128, 96)]
    np.testing.assert_array_equal(slide.read_region(-5, 20, 100, 90)[:, 5:], scan[20:110, :95])
    np.testing.assert_array_equal(slide.read_region(20, 40, 50, 50, 1.0), scan[::2, ::2][20:70, 10:60])


@pytest.mark.parametrize(
    ("count", "names", "message"),
    [(3, ["DAPI", "FITC", "TRITC"], r"3 channels \(DAPI, FITC, TRITC\)"), (4, None, "4 channels"), (2, None, "2 cha")],
)
def test_channels_that_are_no_colors_are_refused_in_one_line(tmp_path, scan, count, names, message):
    metadata = {"axes": "CYX", **({"Channel": {"Name": names}} if names else {})}
    planes = np.stack([scan[..., 0]] * count)
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, ome=True, photometric="minisblack", metadata=metadata)
    with pytest.raises(InputError, match=message) as caught:
        open_slide(tmp_path / "a.ome.tif")
    assert "\n" not in str(caught.value) and "export it as RGB" in str(caught.value)


def test_a_stack_of_unnamed_planes_is_refused(tmp_path, scan):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for channel in range(3):
            tif.write(scan[..., channel], photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match="3 pages of one channel and one size"):
        open_slide(tmp_path / "a.tif")


def test_unsafe_xml_is_refused_in_one_line(tmp_path, scan):
    bomb = '<!DOCTYPE OME [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><OME><Pixels>&b;</Pixels></OME>'
    tifffile.imwrite(tmp_path / "a.tif", scan, photometric="rgb", description=bomb, metadata=None)
    with pytest.raises(InputError, match=r"a\.tif: its OME-XML declares a document type"):
        open_slide(tmp_path / "a.tif")
