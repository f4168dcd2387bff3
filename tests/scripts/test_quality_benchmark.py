from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hmgdm_monai.data.demo import make_demo_cohort
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.transforms.quality import QualityLimits
from hmgdm_monai.transforms.quality_scores import QualityScores

GOOD = QualityScores(focus=6.0, pen=0.0, fold=0.0, dark=0.0, saturation=0.4)
NONE = {"pen": 0.0, "blur": 0.0, "fold": 0.0}


def test_the_default_limits_find_most_artifact_tiles_and_keep_clean_ones(tmp_path):
    """On another seed than the one that they were chosen on; the shares measured on large cohorts are higher."""
    from benchmark_parts.quality import demo_tiles, found_and_kept

    make_demo_cohort(tmp_path, seed=1, n_patients=5, slide_px=512, mpp=1.0, artifacts=True)
    tiles = list(demo_tiles(tmp_path, TileSpec(size_px=128, overlap_px=64)))
    counts = found_and_kept(tiles, QualityLimits())
    assert counts["clean"][1] > 20
    assert counts["any artifact"][1] > 20
    shares = {name: good / max(1, total) for name, (good, total) in counts.items()}
    assert shares["clean"] > 0.95
    assert shares["pen"] > 0.9
    assert shares["any artifact"] > 0.65


def test_tiles_with_little_of_an_artifact_are_not_counted():
    from benchmark_parts.quality import found_and_kept

    inked = GOOD._replace(pen=0.4)
    tiles = [
        (GOOD, NONE),
        (inked, NONE),
        (inked, {**NONE, "pen": 0.3, "fold": 0.2}),
        (GOOD, {**NONE, "blur": 0.5}),
        (GOOD, {**NONE, "blur": 0.1}),
    ]
    assert found_and_kept(tiles, QualityLimits()) == {
        "pen": (1, 1),
        "blur": (0, 1),
        "fold": (1, 1),
        "any artifact": (1, 2),
        "clean": (1, 2),
    }


def test_real_tiles_are_counted_by_reason(tmp_path, stained):
    from benchmark_parts.quality import real_tiles_left_out

    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((64, 64, 3), (40, 70, 190), np.uint8)).save(tmp_path / "a" / "ink.png")
    Image.fromarray(stained(64, 64)).save(tmp_path / "a" / "tissue.png")
    assert real_tiles_left_out(tmp_path, 1.0, QualityLimits(min_focus=None)) == (2, {"pen": 1})


@pytest.mark.parametrize(
    ("count", "total", "shown"),
    [(0, 0, "no tiles"), (50, 100, "50.0 % (40.4 to 59.6) of 100"), (0, 100, "0.0 % (0.0 to 3.7) of 100")],
)
def test_wilson_interval(count, total, shown):
    from benchmark_parts.quality import interval

    assert interval(count, total) == shown
