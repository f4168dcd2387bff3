from __future__ import annotations

import csv

import numpy as np
import pytest
from monai.transforms import Compose

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.tasks.pretraining.quality_report import write_quality
from hmgdm_monai.transforms.quality import QualityLimits, TileQualityd
from hmgdm_monai.transforms.quality_scores import quality_scores
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

PLAIN = graph_transforms(Superpixels(n_segments=12))


@pytest.fixture
def cohort(tmp_path, stained, write_tiff):
    """Function (transforms) -> (cohort, recipe) of a slide with ink on one of six tiles and a clean slide of two."""
    inked = stained(192, 128)
    inked[:64, 64:128] = (40, 70, 190)
    write_tiff(tmp_path / "inked.tif", [inked], compression="zlib")
    write_tiff(tmp_path / "clean.tif", [stained(128, 64)], compression="zlib")
    (tmp_path / "c.csv").write_text("image,patient\ninked.tif,P\nclean.tif,Q\n")

    def build(transforms):
        recipe = TileRecipe(TileSpec(size_px=64, mpp=0.5), transforms)
        return build_graph_stores(tmp_path / "c.csv", tmp_path / "graphs", recipe, progress=False), recipe

    return build


def test_the_table_has_all_tiles_and_the_pictures_show_slides_with_left_out_ones(cohort, tmp_path, stained):
    graphs, recipe = cohort(Compose([TileQualityd("image", QualityLimits(min_focus=None)), PLAIN]))
    write_quality(graphs, recipe, tmp_path / "run")
    with (tmp_path / "run" / "quality.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert [(row["id"], row["x_px"], row["y_px"]) for row in rows if row["left_out"] == "pen"] == [("inked", "64", "0")]
    clean = next(row for row in rows if row["id"] == "clean")
    scores = quality_scores(np.ascontiguousarray(stained(128, 64)[:, :64].transpose(2, 0, 1)), 0.5)
    assert float(clean["focus"]) == pytest.approx(scores.focus, rel=1e-3)
    assert [path.name for path in (tmp_path / "run" / "figures" / "quality").iterdir()] == ["inked.png"]


def test_without_scores_nothing_is_written(cohort, tmp_path):
    write_quality(*cohort(PLAIN), tmp_path / "run")
    assert not (tmp_path / "run").exists()
