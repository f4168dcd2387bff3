from __future__ import annotations

import numpy as np
import pytest
import tifffile

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec, tile_locations
from hmgdm_monai.errors import InputError


@pytest.fixture
def slide_path(real_data):
    def find(pattern: str):
        found = sorted((real_data / "slides").glob(pattern))
        if not found:
            pytest.skip(f"no {pattern} among the real slides")
        return found[0]

    return find


@pytest.mark.parametrize(
    ("pattern", "backend", "mpp"),
    [
        ("CMU-1-Small-Region.svs", "cucim", 0.499),
        ("TCGA-CR-7395*.svs", "openslide", None),
        ("A9K0_1.svs", "openslide", 0.19448),
    ],
)
def test_real_slides_open_with_the_backend_that_reads_them_rightly(slide_path, pattern, backend, mpp):
    path = slide_path(pattern)
    slide = open_slide(path)
    assert slide.backend == backend
    assert slide.mpp == (None if mpp is None else pytest.approx(mpp))
    expected = tifffile.imread(path, key=0)
    assert slide.dimensions_px == expected.shape[1::-1]
    region = slide.read_region(500, 400, 300, 200).astype(int)
    # Decoders of JPEG 2000 differ in rounding.
    assert np.abs(region - expected[400:600, 500:800]).mean() < 1.0


def test_every_backend_shows_the_same_real_tiles(slide_path):
    path = slide_path("CMU-1-Small-Region.svs")
    where = [[100, 200], [1000, 1500], [2100, 2900], [-50, 10]]
    reference = open_slide(path).read_regions(where, 256, 0.8).astype(int)
    for backend in ("openslide", "tifffile"):
        other = open_slide(path, backend=backend).read_regions(where, 256, 0.8).astype(int)
        assert np.abs(other - reference).mean() < 1.0, backend


def test_slide_without_mpp_is_read_once_the_manifest_gives_it(slide_path):
    path = slide_path("TCGA-CR-7395*.svs")
    with pytest.raises(InputError, match="mpp column"):
        tile_locations(open_slide(path), TileSpec())
    slide = open_slide(path, mpp=0.5)
    locations = tile_locations(slide, TileSpec(256, 1.0))
    assert 20 < len(locations) < 8 * 9
    tiles = slide.read_regions(locations[:3], 256, 1.0, num_workers=2)
    fine = slide.read_region(*locations[0].tolist(), 512, 512)
    halved = fine.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(tiles[0] - halved).mean() < 8


def test_tiles_of_the_real_slide_hold_tissue_and_leave_none_out(slide_path):
    slide = open_slide(slide_path("CMU-1-Small-Region.svs"))
    spec = TileSpec(256, 0.5, min_tissue=0.5)
    locations = tile_locations(slide, spec)
    tiles = slide.read_regions(locations, 256, 0.5).astype(float)
    ink = (255 - tiles).mean((1, 2, 3))
    everywhere = tile_locations(slide, TileSpec(256, 0.5, min_tissue=0))
    rest = [xy for xy in everywhere.tolist() if xy not in locations.tolist()]
    ink_of_rest = (255.0 - slide.read_regions(rest, 256, 0.5)).mean((1, 2, 3))
    assert 0.2 < len(locations) / len(everywhere) < 0.6
    assert ink.min() > 20
    assert np.median(ink) > 4 * np.median(ink_of_rest)
