from __future__ import annotations

import numpy as np
import pytest
import tifffile

from hmgdm_monai.data.files.heatmap_pyramid import write_heatmap_pyramid
from hmgdm_monai.data.slides.slide import open_slide


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(np.nan_to_num(values) * 255)[:, None], 3, 1).astype(np.uint8)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    y, x = np.mgrid[:600, :1100]
    values = (x + y) / 1700
    values[200:240, 300:350] = np.nan
    return values


@pytest.fixture(scope="module")
def path(values, tmp_path_factory):
    target = tmp_path_factory.mktemp("pyramid") / "risk.ome.tif"

    def level(factor: int) -> np.ndarray:
        height, width = (-(-side // factor) for side in values.shape)
        return values[::factor, ::factor][:height, :width]

    return write_heatmap_pyramid(target, level, gray, (1100, 600), 4.0, "risk, 0 to 1")


def test_tifffile_reads_all_levels_and_the_scale(path, values):
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        series = file.series[0]
        assert [level.shape for level in series.levels] == [(600, 1100, 3), (300, 550, 3), (150, 275, 3), (75, 138, 3)]
        assert 'PhysicalSizeX="4.0"' in file.ome_metadata and 'PhysicalSizeXUnit="µm"' in file.ome_metadata
        expected = np.where(np.isfinite(values)[..., None], gray(values.ravel()).reshape(600, 1100, 3), 255)
        np.testing.assert_array_equal(series.asarray(), expected)
        np.testing.assert_array_equal(series.levels[1].asarray(), expected[::2, ::2])
        assert all(page.is_tiled for level in series.levels for page in level.pages)


def test_our_reader_reads_it_as_a_slide(path, values):
    slide = open_slide(path)
    assert slide.mpp == pytest.approx(4.0)
    assert slide.level_sizes_px == [(1100, 600), (550, 300), (275, 150), (138, 75)]
    region = slide.read_region(700, 100, 64, 32)
    np.testing.assert_array_equal(region[..., 0], np.rint(values[100:132, 700:764] * 255))
    coarse = slide.read_region(700, 100, 16, 8, mpp=16.0)  # at 4 map pixels a pixel
    np.testing.assert_array_equal(coarse[..., 0], np.rint(values[100:132:4, 700:764:4] * 255))
    assert (slide.read_region(310, 210, 20, 20) == 255).all()
