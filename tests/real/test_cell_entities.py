"""Annotated nuclei of real tissue as entities: every one is there, at the scale of the image and at half of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.build_cutter import build_cutter
from hmgdm_monai.transforms.tile_transforms import graph_transforms


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_annotated_nuclei_are_the_vertices(real_data: Path, tmp_path: Path, mpp: float) -> None:
    folder = real_data / "nuclei"
    if not folder.is_dir():
        pytest.skip(f"no annotated nuclei in {folder}")
    with (folder / "manifest.csv").open() as file:
        names = [Path(row["file"]).stem for row in csv.DictReader(file)][:2]
    rows = [f"{folder}/images/{name}.tif,{name},0.25,{folder}/labels/{name}.png" for name in names]
    (tmp_path / "m.csv").write_text("\n".join(["image,patient,mpp,cells", *rows]) + "\n")
    spec = TileSpec(250, mpp, min_tissue=0.0)
    cutter = build_cutter("cells", max_edge_um=30.0)
    cohort = build_graph_stores(
        tmp_path / "m.csv", tmp_path / "graphs", TileRecipe(spec, graph_transforms(cutter)), progress=False
    )
    store = cohort.store()
    assert not cohort.skipped and len(store) == 2 * (1000 * 0.25 / mpp / 250) ** 2
    labels = {name: np.asarray(Image.open(folder / "labels" / f"{name}.png")) for name in names}
    step = round(mpp / 0.25)
    for index in range(len(store)):
        graph, info = store[index], store.tile_info(index)
        x, y = info.location_px
        (name,) = [name for name in names if info.row_id.endswith(name)]
        part = labels[name][y : y + 250 * step, x : x + 250 * step]
        areas = np.bincount(part.ravel())[1:]
        seen = (areas > 0).sum()
        assert (areas >= 20).sum() <= graph.num_vertices <= seen  # a sliver may fall between pixels
        lengths = graph.pos[graph.edge_index[0]] - graph.pos[graph.edge_index[1]]
        assert float(lengths.norm(dim=1).max()) * 250 * mpp <= 30.0 + 1e-3
        assert graph.edge_index.shape[1] > graph.num_vertices
