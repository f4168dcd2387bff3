"""Real slides and tiles become graphs, together and with what is missing told."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms


def test_a_cohort_of_real_slides_and_tiles(real_data: Path, tmp_path: Path) -> None:
    slides = sorted((real_data / "slides").glob("*.svs"))
    labeled = real_data / "prostate_gleason" / "labelled"
    with (labeled / "manifest.csv").open(newline="") as file:
        tiles = [row for row, _ in zip(csv.DictReader(file), range(20), strict=False)]
    assert len(slides) == 3
    assert len(tiles) == 20

    def build(mpp_of_tcga: str):
        rows = [
            (os.path.relpath(path, tmp_path), path.stem, "", mpp_of_tcga if "TCGA" in path.name else "")
            for path in slides
        ]
        rows += [(os.path.relpath(labeled / row["file"], tmp_path), row["group"], row["class"], "") for row in tiles]
        with (tmp_path / "cohort.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "patient", "label", "mpp"), *rows])
        return build_graph_stores(
            tmp_path / "cohort.csv",
            tmp_path / "graphs",
            TileRecipe(TileSpec(256, 1.0), graph_transforms(Superpixels())),
            progress=False,
        )

    without = build("")
    assert len(without.skipped) == 1
    assert "TCGA" in without.skipped[0][0]
    assert "mpp column" in without.skipped[0][1]

    cohort = build("0.5")
    assert cohort.skipped == []
    by_patient = cohort.indices_by_patient()
    counts = [len(by_patient[path.stem]) for path in slides]
    assert all(counts)
    assert sum(len(by_patient[group]) for group in {row["group"] for row in tiles}) == 20
    assert cohort.summary().startswith(f"done 3 slides ({sum(counts)} tiles) and 20 plain tiles of ")
    assert set(without.paths) < set(cohort.paths)

    store = cohort.store()
    assert len(store) == sum(counts) + 20
    vertices = np.array([store[index].num_vertices for index in range(len(store))])
    edges = np.array([store[index].edge_index.shape[1] for index in range(len(store))])
    assert 35 < vertices.mean() < 65
    assert 1.8 < (edges / vertices).mean() < 3.0
    wanted = {row["class"] for row in tiles}
    assert {row.label for row in cohort.tile_rows if row.label is not None} == wanted
