"""Cohorts whose entities are cells: from slides to graphs and embeddings, with outlines of others and without cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from recipes import NOISING, recipe_settings
from torch_geometric.data import Batch

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.preparation.cohort import CohortGraphs, build_graph_stores
from hmgdm_monai.preparation.encode import encode_stores
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.saving.classifier_file import build_classifier
from hmgdm_monai.tasks.inference.embed import embed_slides
from hmgdm_monai.tasks.inference.maps import Quantity, entity_attention, read_tile, write_entity_map
from hmgdm_monai.transforms.build_cutter import build_cutter
from hmgdm_monai.transforms.cells import Cells
from hmgdm_monai.transforms.tile_transforms import cutter_in, graph_transforms
from hmgdm_monai.visualize.paint import paint_superpixels

SPEC = TileSpec(64, 0.5, min_tissue=0.0)
SIDE = 192  # of the slide, px of 0.25 um: 1.5 tiles, so 2 x 2 of them
# Cells of 12 px: three in the first tile, one on the border to the second, none in the third, one in the fourth.
CORNERS = [(10, 10), (60, 20), (30, 90), (124, 60), (170, 170)]


def label_map() -> np.ndarray:
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number, (x, y) in enumerate(CORNERS, 1):
        labels[y : y + 12, x : x + 12] = number
    return labels


def write_outlines(path: Path) -> None:
    rings = [[[x, y], [x + 12, y], [x + 12, y + 12], [x, y + 12], [x, y]] for x, y in CORNERS]
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}} for ring in rings]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.fixture
def folder(tmp_path: Path, stained: Any, write_tiff: Any) -> Path:
    """Slides a and b alike, with the same cells as a label map and as outlines; an even one, c, without any."""
    for name in "ab":
        write_tiff(tmp_path / f"{name}.tif", [stained(SIDE, SIDE)], mpp=0.25, tile_px=64)
    write_tiff(tmp_path / "c.tif", [np.full((SIDE, SIDE, 3), 190, np.uint8)], mpp=0.25, tile_px=64)
    Image.fromarray(label_map()).save(tmp_path / "a_cells.png")
    write_outlines(tmp_path / "b_cells.geojson")
    return tmp_path


def manifest(folder: Path, *rows: str) -> Path:
    (folder / "m.csv").write_text("\n".join(["image,patient,mpp,cells", *rows]) + "\n")
    return folder / "m.csv"


def build(folder: Path, *rows: str, **settings: Any) -> CohortGraphs:
    cutter = Cells(**{"max_edge_um": 30.0, **settings})
    return build_graph_stores(
        manifest(folder, *rows), folder / "graphs", TileRecipe(SPEC, graph_transforms(cutter)), progress=False
    )


def test_outlines_and_label_maps_give_the_same_graphs(folder: Path) -> None:
    cohort = build(folder, "a.tif,p0,,a_cells.png", "b.tif,p1,,b_cells.geojson")
    store = cohort.store()
    assert [store.tile_info(index).location_px for index in range(3)] == [(0, 0), (128, 0), (128, 128)]
    for index in range(3):
        a, b = store[index], store[index + 3]
        for name in ("pos", "edge_index", "label_map", "image", "mpp"):
            assert torch.equal(a[name], b[name]), name
    first, second = store[0], store[1]
    # Of the cell on the border 4 px, 2 at this scale, lie in the first tile, and the rest in the second.
    assert first.num_vertices == 4 and second.num_vertices == 1
    assert np.bincount(first.label_map[first.label_map >= 0]).tolist() == [36, 36, 12, 36]
    assert (second.label_map >= 0).sum() == 24
    assert torch.allclose(first.pos[0], torch.tensor([8 / 64, 8 / 64]))
    assert first.mpp.tolist() == [0.5] and second.edge_index.shape == (2, 0)
    # Centers in um: (4, 4), (16.5, 6.5), (31.5, 16.5), (9, 24); of the tile's pixels 0.5 um each.
    assert first.edge_index.T.tolist() == [[0, 1], [0, 3], [1, 2], [1, 3], [2, 3]]
    longest = build(folder, "a.tif,p0,,a_cells.png", max_edge_um=19.5).store()[0]
    assert longest.edge_index.T.tolist() == [[0, 1], [1, 2], [1, 3]]


def test_tiles_without_a_cell_are_left_out_and_counted(folder: Path) -> None:
    cohort = build(folder, "a.tif,p0,,a_cells.png", "c.tif,p1,,")
    assert cohort.done == [("a", 3)]
    assert cohort.notes == ["a: 1 of its 4 tiles show no cell and are skipped"]
    assert cohort.skipped == [("c.tif", "no cell is found in its 4 tiles")]
    assert cohort.notes[0] in cohort.summary() and "c.tif" in cohort.summary()
    again = build(folder, "a.tif,p0,,a_cells.png", "c.tif,p1,,")
    assert again.notes == cohort.notes and again.skipped == cohort.skipped
    with pytest.raises(InputError, match="no cell is found"):
        build(folder, "c.tif,p1,,")


def test_other_cells_make_another_file(folder: Path) -> None:
    row = "a.tif,p0,,a_cells.png"
    before = build(folder, row).paths
    assert build(folder, row).paths == before
    assert build(folder, row, edges="knn").paths != before
    assert build(folder, "a.tif,p0,,").paths != before
    Image.fromarray(label_map()[::-1].copy()).save(folder / "a_cells.png")
    assert build(folder, row).paths != before
    recipe = TileRecipe(SPEC, graph_transforms(build_cutter(n_segments=9)))
    superpixels = build_graph_stores(manifest(folder, row), folder / "g", recipe, progress=False)
    (folder / "a_cells.png").write_bytes(b"no longer a label map")  # which superpixels do not read
    again = build_graph_stores(manifest(folder, row), folder / "g", recipe, progress=False)
    assert again.paths == superpixels.paths


def test_images_whose_scale_or_cells_cannot_be_used_are_named(folder: Path, stained: Any) -> None:
    for name in ("d", "e"):
        Image.fromarray(stained(64, 64)).save(folder / f"{name}.png")
    Image.fromarray(label_map()[:9]).save(folder / "small.png")
    cohort = build(folder, "a.tif,p0,,a_cells.png", "b.tif,p1,,small.png", "d.png,p2,,", "e.png,p3,0.5,")
    reasons = dict(cohort.skipped)
    assert [unit for unit, _ in cohort.done] == ["a", "tiles of patient p3"]
    assert "export it at the image's full size" in reasons["b.tif"]
    assert "microns per pixel are unknown" in reasons["d.png"] and "\n" not in reasons["d.png"]


@pytest.fixture
def encoder(tiny: Any) -> GraphTileEncoder:
    """A model in miniature of cells, with their shapes."""
    cells = {"_target_": "hmgdm_monai.transforms.cells.Cells", "edges": "knn", "neighbors": 3, "max_edge_um": 30.0}
    run = {"recipe": recipe_settings(64, 0.5, cutter=cells, min_tissue=0.0), "noising": NOISING}
    return tiny.encoder(run=run, entities=tiny.entities(shape_channels=True))


def test_slides_embed_as_their_stored_graphs_do(folder: Path, encoder: GraphTileEncoder) -> None:
    recipe = recipe_of(encoder.run_settings)
    assert cutter_in(recipe.transforms).settings() == Cells("knn", 3, 30.0).settings()
    path = manifest(folder, "a.tif,p0,,a_cells.png", "b.tif,p1,,", "c.tif,p2,,")
    cohort = build_graph_stores(path, folder / "graphs", recipe, progress=False)
    latents = LatentStore(encode_stores(encoder.entities, cohort.paths, folder / "latents", progress=False))
    with torch.inference_mode():
        expected = encoder.embed(Batch.from_data_list([latents[index] for index in range(len(latents))])).numpy()
    for batch_tiles, workers in ((32, 0), (1, 0), (2, 1)):
        done = embed_slides(encoder, path, folder / f"e{batch_tiles}", batch_tiles, num_workers=workers, progress=False)
        found = [read_features(done.slides[name]) for name in ("a", "b")]
        assert done.skipped == {"c": "no cell is found in its 4 tiles"}
        assert found[0].coords.tolist() == [[0, 0], [128, 0], [128, 128]]
        assert np.allclose(np.concatenate([one.features for one in found]), expected, atol=2e-2)  # stored as halves


def test_plain_tiles_without_a_cell_or_a_scale_are_named(folder: Path, encoder: GraphTileEncoder, stained: Any) -> None:
    for name, image in (("d", stained(64, 64)), ("e", np.full((64, 64, 3), 190, np.uint8)), ("f", stained(64, 64))):
        Image.fromarray(image).save(folder / f"{name}.png")
    path = manifest(folder, "d.png,p0,0.5,", "e.png,p0,0.5,", "f.png,p1,,")
    done = embed_slides(encoder, path, folder / "e", progress=False)
    assert done.skipped["e"] == "no cell is found in it, so it has no graph"
    assert "column mpp" in done.skipped["f"]
    with torch.inference_mode():
        images = torch.from_numpy(stained(64, 64)).permute(2, 0, 1)[None]
        assert encoder(images).shape[0] == 1  # a tensor counts as being at the scale of the training
    with pytest.raises(InputError, match="shows no cell"):
        encoder(torch.full((1, 3, 64, 64), 190.0))


def test_maps_paint_cells_and_nothing_between_them(folder: Path, encoder: GraphTileEncoder) -> None:
    from hmgdm_monai.data.manifest.manifest import read_manifest

    (row,) = read_manifest(manifest(folder, "a.tif,p0,,a_cells.png")).rows
    tile = read_tile(row, (0, 0), SPEC, encoder.to_sample)
    assert tile.sample.num_vertices == 4
    classifier = build_classifier(encoder, "finetune", {"num_classes": 2}).eval()
    values, _ = entity_attention(classifier, tile)
    assert values.shape == (4,)
    written = write_entity_map(tile, Quantity("attention", "attention", values), folder / "maps", "a", "a")
    collection = json.loads(written[0].read_text())
    boxes = [np.array(feature["geometry"]["coordinates"][0]) for feature in collection["features"]]
    assert sorted(map(tuple, (box.min(0).tolist() for box in boxes))) == [(10, 10), (30, 90), (60, 20), (124, 60)]
    import nibabel

    pixels = nibabel.load(written[2]).get_fdata()[..., 0].T
    assert np.array_equal(np.isfinite(pixels), tile.sample.label_map[0].numpy() >= 0)
    painted = paint_superpixels(tile.sample.label_map, torch.zeros(4, 3, 8, 8), tile.sample.pos)
    assert np.array_equal(painted[..., 0] == 255, tile.sample.label_map[0].numpy() < 0)


@pytest.mark.parametrize("view", ["tile", "window"])
def test_one_cell_among_tiles_of_many(folder: Path, tiny: Any, view: str) -> None:
    cohort = build(folder, "a.tif,p0,,a_cells.png")
    store = GraphStore(cohort.paths)
    entities = tiny.entities(view=view, window_px=16)
    graphs = [store[index] for index in range(len(store))]
    with torch.inference_mode():
        vertices, edges = entities(Batch.from_data_list(graphs))
        alone = [entities(graph) for graph in graphs]
    assert [len(one[0]) for one in alone] == [4, 1, 1] and [len(one[1]) for one in alone] == [5, 0, 0]
    assert torch.allclose(vertices, torch.cat([one[0] for one in alone]), atol=1e-4)
    assert torch.allclose(edges, torch.cat([one[1] for one in alone]), atol=1e-4)
