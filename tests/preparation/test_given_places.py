"""Places and regions of the manifest reach stores and embeddings alike, and belong to what a file is keyed by."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.graph_unit import plan_units
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.tasks.inference.embed import embed_slides

PLACES = [[3, 5], [70, 9], [100, 100]]


@pytest.fixture
def cohort(tmp_path, stained, write_tiff):
    """Slide a with places of another program, b with a region, c with both wrong, d with neither; tiles of 64 px."""
    for number, name in enumerate("abcd"):
        write_tiff(tmp_path / f"{name}.tif", [np.roll(stained(192, 192), 17 * number, axis=1)], compression="zlib")
    write_places(tmp_path / "a.h5", PLACES)
    write_places(tmp_path / "c.h5", PLACES, side=96)
    write_region(tmp_path / "b.geojson", (0, 0, 128, 64))
    (tmp_path / "cohort.csv").write_text(
        "image,patient,coords,regions,region_classes\n"
        "a.tif,p,a.h5,,\nb.tif,p,,b.geojson,Tumor\nc.tif,q,c.h5,,\nd.tif,q,,,\n"
    )
    return tmp_path / "cohort.csv"


def write_places(path, places, side=64):
    with h5py.File(path, "w") as file:
        file["coords"] = np.asarray(places)
        file["coords"].attrs["patch_size_level0"] = side


def write_region(path, box, name="Tumor"):
    left, top, right, bottom = box
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    feature = {
        "type": "Feature",
        "properties": {"objectType": "annotation", "classification": {"name": name}},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


EXPECTED = {"a": PLACES, "b": [[0, 0], [64, 0]], "d": [[x, y] for y in (0, 64, 128) for x in (0, 64, 128)]}


def test_stores_and_embeddings_have_the_same_tiles(tmp_path, cohort, tiny_pretrained):
    recipe = recipe_of(tiny_pretrained.run_settings)
    graphs = build_graph_stores(cohort, tmp_path / "g", recipe, progress=False)
    result = embed_slides(tiny_pretrained, cohort, tmp_path / "e", batch_tiles=2, progress=False)
    store = graphs.store(tiles=False)
    stored: dict[str, list[list[int]]] = {}
    for index in range(len(store)):
        stored.setdefault(store.tile_info(index).row_id, []).append(list(store.tile_info(index).location_px))
    assert stored == EXPECTED
    assert {row_id: read_features(path).coords.tolist() for row_id, path in result.slides.items()} == EXPECTED
    assert set(result.skipped) == {"c"}
    assert "are 48 um wide, ours 32 um" in result.skipped["c"]
    assert [what for what, _ in graphs.skipped] == ["c.tif"]


def test_pixels_are_those_at_the_given_places(tmp_path, cohort, tiny_pretrained):
    from hmgdm_monai.data.slides.slide import open_slide

    recipe = recipe_of(tiny_pretrained.run_settings)
    graphs = build_graph_stores(cohort, tmp_path / "g", recipe, progress=False)
    store = graphs.store(tiles=False)
    pixels = open_slide(tmp_path / "a.tif").read_region(70, 9, 64, 64)
    np.testing.assert_array_equal(store.image(1), pixels)


def keys(cohort, recipe, folder):
    units, skipped = plan_units(read_manifest(cohort).rows, folder, recipe)
    assert skipped == {}
    return {unit.name: unit.path for unit in units}


def test_a_changed_file_or_choice_means_another_unit(tmp_path, cohort, tiny_pretrained):
    recipe = recipe_of(tiny_pretrained.run_settings)
    before = keys(cohort, recipe, tmp_path)
    assert keys(cohort, recipe, tmp_path) == before
    write_places(tmp_path / "a.h5", PLACES[:2])
    after = keys(cohort, recipe, tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"a"}
    stat = (tmp_path / "b.geojson").stat()
    os.utime(tmp_path / "b.geojson", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    changed = keys(cohort, recipe, tmp_path)
    assert {name for name in before if after[name] != changed[name]} == {"b"}
    cohort.write_text(cohort.read_text().replace("b.geojson,Tumor", "b.geojson,Tumor;Stroma"))
    chosen = keys(cohort, recipe, tmp_path)
    assert {name for name in before if changed[name] != chosen[name]} == {"b"}


def test_a_row_whose_regions_are_of_no_use_is_left_out_with_one_line(tmp_path, cohort, tiny_pretrained):
    write_region(tmp_path / "small.geojson", (0, 0, 20, 20))
    (tmp_path / "broken.geojson").write_text("{")
    cohort.write_text(
        "image,patient,regions,region_classes\n"
        "a.tif,p,small.geojson,\nb.tif,p,b.geojson,Stroma\nc.tif,q,broken.geojson,\nd.tif,q,,\n"
    )
    result = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    assert sorted(result.slides) == ["d"]
    assert result.skipped["a"].startswith("none of its 9 tiles has its center in a region of small.geojson")
    assert "no annotation of class Stroma; classes in it are Tumor" in result.skipped["b"]
    assert "broken.geojson: not GeoJSON" in result.skipped["c"]
    assert not any("\n" in why for why in result.skipped.values())


def test_embeddings_follow_a_changed_file(tmp_path, cohort, tiny_pretrained):
    embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    write_region(tmp_path / "b.geojson", (0, 0, 64, 192))
    again = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    assert again.kept == 2
    assert read_features(again.slides["b"]).coords.tolist() == [[0, 0], [0, 64], [0, 128]]


def test_embeddings_are_places_for_another_model(tmp_path, cohort, tiny_pretrained):
    """What inference wrote can be read as coordinates."""
    first = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    cohort.write_text("image,patient,coords\nb.tif,p,e/b.h5\n")
    again = embed_slides(tiny_pretrained, cohort, tmp_path / "f", progress=False)
    np.testing.assert_array_equal(read_features(again.slides["b"]).coords, read_features(first.slides["b"]).coords)
