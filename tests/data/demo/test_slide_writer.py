"""The demo slides' files, read back by the libraries that users read slides with."""

from __future__ import annotations

import numpy as np
import openslide
import pytest
import tifffile
from scipy import ndimage

from hmgdm_monai.data.demo.slide_writer import LEVELS, halve, write_pyramid

SIDE_PX, MPP = 640, 0.5


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).normal(size=(SIDE_PX, SIDE_PX, 3))
    smooth = ndimage.gaussian_filter(noise, (24, 24, 0))
    tint = np.array([200.0, 120.0, 160.0])
    return np.clip(tint + 20 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def slide(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    write_pyramid(path, image, MPP)
    return path


def _levels(image):
    levels = [image]
    while len(levels) < LEVELS:
        levels.append(halve(levels[-1]))
    return levels


def _is_close(read, drawn):
    assert read.shape == drawn.shape
    assert np.abs(read.astype(int) - drawn).mean() < 3
    # Colors are not swapped or left in YCbCr.
    np.testing.assert_allclose(read.mean((0, 1)), drawn.mean((0, 1)), atol=1.5)


def test_cucim_reads_every_level_and_the_mpp(slide, image):
    cucim = pytest.importorskip("cucim")
    handle = cucim.CuImage(str(slide))
    assert handle.resolutions["level_count"] == LEVELS
    assert handle.spacing("XY") == pytest.approx([MPP, MPP])
    assert handle.spacing_units("X") == ["micrometer"]
    for level, drawn in enumerate(_levels(image)):
        size = handle.resolutions["level_dimensions"][level]
        assert handle.resolutions["level_downsamples"][level] == pytest.approx(2**level)
        _is_close(np.asarray(handle.read_region((0, 0), size, level)), drawn)


def test_openslide_reads_every_level_and_the_mpp(slide, image):
    with openslide.OpenSlide(slide) as handle:
        assert float(handle.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(MPP)
        assert float(handle.properties[openslide.PROPERTY_NAME_MPP_Y]) == pytest.approx(MPP)
        assert handle.level_downsamples == pytest.approx([2.0**level for level in range(LEVELS)])
        for level, drawn in enumerate(_levels(image)):
            region = handle.read_region((0, 0), level, handle.level_dimensions[level])
            _is_close(np.asarray(region.convert("RGB")), drawn)


def test_pages_are_marked_as_a_pyramid(slide, image):
    with tifffile.TiffFile(slide) as tiff:
        assert [page.is_reduced for page in tiff.pages] == [False] + [True] * (LEVELS - 1)
        assert all(page.is_tiled for page in tiff.pages)
        _is_close(tiff.pages[0].asarray(), image)


def test_halve_averages_blocks():
    image = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    mean = image.reshape(3, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_array_equal(halve(image), np.floor(mean + 0.5))
