"""Coordinates of another program and annotations of QuPath on a real slide, from the manifest to maps."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from recipes import recipe_settings

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.files.qupath_rules import check_feature_collection
from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.saving.hub import save_pretrained
from hmgdm_monai.saving.tile_encoders import build_tile_encoder
from hmgdm_monai.tasks.inference.embed import embed_slides
from hmgdm_monai.tasks.inference.maps import Quantity, write_slide_maps
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

PLACES = [[401, 803], [657, 803], [1303, 1777]]  # two contours, each with a grid of its own, as CLAM's
RING = [[200, 600], [1400, 600], [1400, 2400], [200, 2400], [200, 600]]
HOLE = [[600, 1000], [600, 1600], [1000, 1600], [1000, 1000], [600, 1000]]


@pytest.fixture
def cohort(real_data: Path, tmp_path: Path) -> Path:
    """The CMU slide three times: with coordinates as CLAM and as TRIDENT write them, and with a region."""
    slide = real_data / "slides" / "CMU-1-Small-Region.svs"
    if not slide.is_file():
        pytest.skip("no CMU slide among the real ones")
    for name in ("clam", "trident", "region"):
        (tmp_path / f"{name}.svs").symlink_to(slide)
    clam = {"patch_size": 256, "patch_level": 0, "downsample": (1.0, 1.0), "level_dim": (2220, 2967)}
    trident = {"patch_size": 256, "patch_size_level0": 256, "level0_magnification": 20, "target_magnification": 20}
    for name, attrs in (("clam", clam), ("trident", trident)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["coords"] = np.array(PLACES)
            file["coords"].attrs.update(attrs)
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [RING, HOLE]},
        "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
    }
    (tmp_path / "region.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (tmp_path / "cohort.csv").write_text(
        "image,patient,coords,regions,region_classes\n"
        "clam.svs,a,clam.h5,,\ntrident.svs,b,trident.h5,,\nregion.svs,c,,region.geojson,Tumor\n"
    )
    return tmp_path / "cohort.csv"


def test_stores_hold_the_given_tiles_of_a_real_slide(cohort: Path, tmp_path: Path) -> None:
    recipe = TileRecipe(TileSpec(256, 0.5), graph_transforms(Superpixels()))
    built = build_graph_stores(cohort, tmp_path / "g", recipe, progress=False)
    assert built.skipped == []
    counts = dict(built.done)
    assert counts["clam"] == counts["trident"] == len(PLACES)
    store = built.store(tiles=False)
    slide = open_slide(tmp_path / "clam.svs")
    rows = {row: [i for i in range(len(store)) if store.tile_info(i).row_id == row] for row in counts}
    for place, index in zip(PLACES, rows["clam"], strict=True):
        assert list(store.tile_info(index).location_px) == place
        expected = slide.read_region(*place, 256, 256).astype(int)
        assert np.abs(store.image(index) - expected).mean() < 1  # 0.499 um counts as 0.5
    centers = np.array([store.tile_info(index).location_px for index in rows["region"]]) + 128
    assert len(centers) == counts["region"] > 5
    assert ((centers > RING[0]) & (centers < RING[2])).all()
    assert not ((centers > HOLE[0]) & (centers < HOLE[2])).all(1).any()


def test_tiles_of_another_size_are_told_and_the_rest_goes_on(cohort: Path, tmp_path: Path) -> None:
    recipe = TileRecipe(TileSpec(256, 1.0), graph_transforms(Superpixels()))
    built = build_graph_stores(cohort, tmp_path / "g", recipe, progress=False)
    assert [what for what, _ in built.skipped] == ["clam.svs", "trident.svs"]
    for _, why in built.skipped:
        assert "are 127.7 um wide, ours 256 um; train with tile_size_px 256 and tile_mpp 0.499" in why
    assert [name for name, _ in built.done] == ["region"]


def test_maps_of_given_tiles_lie_where_they_are(cohort: Path, tmp_path: Path) -> None:
    import nibabel

    row = read_manifest(cohort).rows[0]
    about = {
        "tile_size_level0": 256.0,
        "tile_size_px": 256,
        "mpp": 0.499,
        "level0_mpp": 0.499,
        "settings": json.dumps({"tile": {"overlap_px": 0}}),
    }
    quantity = Quantity("n", "n", np.arange(1.0, len(PLACES) + 1))
    paths = write_slide_maps(row, np.array(PLACES), about, [quantity], tmp_path / "maps", "cmu")
    collection = json.loads(paths[0].read_text())
    check_feature_collection(collection)
    corners = [feature["geometry"]["coordinates"][0][0] for feature in collection["features"]]
    assert corners == PLACES
    image = nibabel.load(paths[2])
    values = image.get_fdata()[..., 0]
    for number, place in enumerate(PLACES):
        voxels = np.argwhere(values == number + 1)
        mm = nibabel.affines.apply_affine(image.affine, np.column_stack([voxels, 0 * voxels[:, 0]]))[:, :2]
        np.testing.assert_allclose(mm.mean(0) * 1000 / 0.499, np.array(place) + 128, atol=17)


def test_a_real_slide_is_embedded_at_the_given_places(cohort: Path, tmp_path: Path) -> None:
    vit = {"image_px": 256, "patch_px": 32, "hidden_dim": 16, "num_layers": 1, "heads": 2}
    encoder = build_tile_encoder("vit", {"vit": vit, "readout": "mean"}, {"recipe": recipe_settings(256, 0.5)}).eval()
    encoder = load_encoder(save_pretrained(encoder, tmp_path / "encoder"))
    result = embed_slides(encoder, cohort, tmp_path / "e", progress=False)
    assert result.skipped == {}
    clam, trident, region = (read_features(result.slides[name]) for name in ("clam", "trident", "region"))
    assert clam.coords.tolist() == trident.coords.tolist() == PLACES
    np.testing.assert_array_equal(clam.features, trident.features)
    assert np.isfinite(clam.features).all() and clam.features.std(0).max() > 0
    assert len(region.features) > 5
