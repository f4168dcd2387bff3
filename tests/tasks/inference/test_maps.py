from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.files.nifti_map import level0_of_voxels
from hmgdm_monai.data.files.qupath_rules import check_feature_collection
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
from hmgdm_monai.networks.encoders.tile_sample import TileToGraph, TileToImage
from hmgdm_monai.preparation.recipe import noising_of
from hmgdm_monai.tasks.inference import maps
from hmgdm_monai.tasks.inference.embed import embed_slides
from hmgdm_monai.tasks.inference.maps import Quantity, entity_attention, read_tile, write_entity_map
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

MARK = (467, 331)  # level-0 x, y of the middle of a dark disc
RADIUS = 30
MPP = 0.37


def shrink(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    size = (round(width / factor), round(height / factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


@pytest.fixture(scope="module", params=[(1,), (1, 4, 16), (1, 2.71, 7.3)], ids=["one level", "4, 16", "2.71, 7.3"])
def marked(request, tmp_path_factory, stained, write_tiff):
    """A slide of 703 x 611 px with a dark disc; pyramids of whole and of odd downsamples."""
    pixels = stained(703, 611)
    y, x = np.mgrid[:611, :703]
    pixels[(x + 0.5 - MARK[0]) ** 2 + (y + 0.5 - MARK[1]) ** 2 < RADIUS**2] = (10, 10, 30)
    levels = [shrink(pixels, factor) for factor in request.param]
    path = write_tiff(tmp_path_factory.mktemp("marked") / "m.tif", levels, mpp=MPP, compression="jpeg")
    return ManifestRow(path, "p", 2, mpp=MPP)


@pytest.fixture(scope="module")
def tile_maps(marked, tmp_path_factory, tiny_model):
    """Maps of darkness of tiles of 64 px at 0.5 um (86.5 level-0 px), as they are written."""
    from hmgdm_monai.saving.encoder_file import load_encoder

    folder = tmp_path_factory.mktemp("maps")
    (folder / "c.csv").write_text(f"image,patient,mpp\n{marked.image},p,{MPP}\n")
    pretrained = load_encoder(tiny_model)
    result = embed_slides(pretrained, folder / "c.csv", folder, progress=False)
    found = read_features(next(iter(result.slides.values())))
    slide = open_slide(marked.image, mpp=MPP)
    assert abs(found.attrs["tile_size_level0"] - 64 * 0.5 / MPP) < 1e-6
    dark = 255 - slide.read_regions(found.coords, 64, 0.5).mean((1, 2, 3))
    quantities, figures = [Quantity("dark", "darkness", dark), Quantity("n", "n", dark * 0)], []
    with pytest.MonkeyPatch.context() as patch:
        save = maps.save_figure
        patch.setattr(
            maps, "save_figure", lambda figure, *args, **kw: (figures.append(figure), save(figure, *args, **kw))[1]
        )
        paths = maps.write_slide_maps(marked, found.coords, found.attrs, quantities, folder, "m")
    files = {path.name: path for path in paths}
    return SimpleNamespace(paths=files, figures=figures, coords=found.coords, side=64 * 0.5 / MPP)


def test_the_hottest_polygon_holds_the_mark(tile_maps):
    collection = json.loads(tile_maps.paths["m.geojson"].read_text())
    check_feature_collection(collection)
    features = collection["features"]
    assert len(features) == len(tile_maps.coords)
    assert [feature["properties"]["name"] for feature in features][:2] == ["tile 0", "tile 1"]
    assert len({feature["id"] for feature in features}) == len(features)
    assert set(features[0]["properties"]["measurements"]) == {"dark", "n"}
    hottest = max(features, key=lambda feature: feature["properties"]["measurements"]["dark"])
    ring = np.array(hottest["geometry"]["coordinates"][0])
    assert (ring.min(0) < MARK).all()
    assert (ring.max(0) > MARK).all()
    np.testing.assert_allclose(np.ptp(ring, axis=0), tile_maps.side, atol=0.01)
    # The color is that of the top of the scale.
    assert hottest["properties"]["color"] == [253, 231, 37]


def test_the_hottest_voxel_lies_at_the_mark(tile_maps):
    image = nibabel.load(tile_maps.paths["m_dark.nii.gz"])
    values = image.get_fdata()[..., 0]
    assert np.isfinite(values).sum() == len(tile_maps.coords)
    place = np.unravel_index(np.nanargmax(values), values.shape)
    mm = nibabel.affines.apply_affine(image.affine, (*place, 0))[:2]
    assert (np.abs(mm * 1000 / MPP - MARK) <= tile_maps.side / 2 + 1).all()
    np.testing.assert_allclose(image.header.get_zooms()[:2], 64 * 0.5 / 1000, rtol=1e-6)
    # Every tile's middle is a voxel's middle, and back.
    voxels = np.argwhere(np.isfinite(values))
    centers = level0_of_voxels(image.affine, voxels, MPP)
    expected = tile_maps.coords + tile_maps.side / 2
    assert max(np.abs(expected - center).max(1).min() for center in centers) <= 0.51  # corners are whole pixels


def test_the_figure_paints_the_mark(tile_maps):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = tile_maps.figures[0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)

    def at(axes, x, y):
        column, row = axes.transData.transform((x, y))
        return pixels[pixels.shape[0] - 1 - int(row), int(column)]

    plain, painted = figure.axes[:2]
    assert at(plain, *MARK).max() < 70
    assert at(plain, MARK[0] + 3 * RADIUS, MARK[1]).max() > 120
    yellow = [at(painted, *(corner + tile_maps.side / 2)) @ [1, 1, -2] for corner in tile_maps.coords]
    assert (np.abs(tile_maps.coords[np.argmax(yellow)] + tile_maps.side / 2 - MARK) <= tile_maps.side / 2 + 1).all()
    assert tile_maps.paths["m_dark.png"].stat().st_size > 10_000


def test_superpixels_are_painted_where_they_lie(marked, tmp_path):
    """The darkest superpixel of a tile covers the disc, in GeoJSON and in NIfTI, in level-0 pixels."""
    to_graph = TileToGraph(graph_transforms(Superpixels(40, compactness=5.0)))
    tile = read_tile(marked, (MARK[0] - 130, MARK[1] - 60), TileSpec(128, 0.5), to_graph)
    labels = tile.sample.label_map[0].numpy()
    dark = np.array([255 - tile.image[:, labels == number].mean() for number in range(labels.max() + 1)])
    paths = write_entity_map(tile, Quantity("dark", "darkness", dark), tmp_path, "m", "m")
    assert [path.name for path in paths] == [
        f"m_x{MARK[0] - 130}_y{MARK[1] - 60}_dark{end}" for end in (".geojson", ".png", ".nii.gz")
    ]
    collection = json.loads(paths[0].read_text())
    check_feature_collection(collection)
    features = collection["features"]
    covering = [feature for feature in features if feature["properties"]["measurements"]["dark"] > 190]
    rings = [np.array(feature["geometry"]["coordinates"][0]) for feature in covering]
    low, high = np.min([ring.min(0) for ring in rings], 0), np.max([ring.max(0) for ring in rings], 0)
    np.testing.assert_allclose((low + high) / 2, MARK, atol=3)
    np.testing.assert_allclose(high - low, 2 * RADIUS, atol=8)
    image = nibabel.load(paths[2])
    hot = np.argwhere(image.get_fdata()[..., 0] > 190)
    centers = nibabel.affines.apply_affine(image.affine, np.column_stack([hot, 0 * hot[:, 0]]))[:, :2] * 1000 / MPP
    np.testing.assert_allclose(centers.mean(0), MARK, atol=2)
    np.testing.assert_allclose(len(hot) * (0.5 / MPP) ** 2, np.pi * RADIUS**2, rtol=0.2)


def test_attention_of_the_gate_paints_each_superpixel_with_its_own(marked, tiny_pretrained):
    tile = read_tile(marked, (100, 100), TileSpec(64, 0.5), tiny_pretrained.to_sample)
    classifier = GatedTileClassifier(tiny_pretrained, 3).eval()
    with torch.no_grad():
        latent = tiny_pretrained.prepare(tile.sample)
        expected, shares = classifier.attention(latent).numpy(), classifier(latent)[0].softmax(0).numpy()
    values, found = entity_attention(classifier, tile)
    np.testing.assert_allclose(values, expected * len(expected), rtol=1e-5)
    np.testing.assert_allclose(values.mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(found, shares, rtol=1e-5)


def test_patches_are_painted_like_superpixels(marked, tmp_path):
    """A transformer's entities are squares: the map of one patch's value lies where the patch does."""
    tile = read_tile(marked, (100, 100), TileSpec(64, 0.5), TileToImage(16))
    values = np.zeros(16)
    values[6] = 1.0  # row 1, column 2
    path = write_entity_map(tile, Quantity("a", "a", values), tmp_path, "m", "m")[0]
    hot = [f for f in json.loads(path.read_text())["features"] if f["properties"]["measurements"]["a"] == 1.0]
    ring = np.array(hot[0]["geometry"]["coordinates"][0])
    assert len(hot) == 1
    np.testing.assert_allclose(ring.min(0), np.array([100, 100]) + np.array([32, 16]) * 0.5 / MPP, atol=0.01)
    np.testing.assert_allclose(ring.max(0), np.array([100, 100]) + np.array([48, 32]) * 0.5 / MPP, atol=0.01)


@pytest.mark.parametrize("name", ["Gleason 3/4", "../escaped", "a/../../../../escaped", "/escaped", "x" * 300])
def test_maps_stay_in_their_folder_whatever_a_class_is_called(name, marked, tmp_path):
    folder = tmp_path / "run" / "maps"
    tile = read_tile(marked, (100, 100), TileSpec(64, 0.5), TileToImage(16))
    about = {
        "tile_size_level0": 64.0,
        "tile_size_px": 64,
        "level0_mpp": 0.5,
        "mpp": 0.5,
        "settings": '{"tile": {"overlap_px": 0}}',
    }
    quantities = [Quantity(f"probability_{name}", "p", np.array([0.2, 0.7])), Quantity("pc1", "pc1", np.zeros(2))]
    places = np.array([[0, 0], [64, 0]])
    written = maps.write_slide_maps(marked, places, about, quantities, folder, name, [name, "b"])
    written += write_entity_map(tile, Quantity(name, "a", np.zeros(16)), folder, name, name)
    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.parent for path in written} == {folder}
    assert len(written) == 8
    features = json.loads(next(path for path in written if path.suffix == ".geojson").read_text())["features"]
    assert features[0]["properties"]["classification"]["name"] == name


def test_as_many_values_as_superpixels(marked, tmp_path):
    tile = read_tile(marked, (100, 100), TileSpec(64, 0.5), TileToGraph(graph_transforms(Superpixels(12))))
    with pytest.raises(InputError, match="entities need as many values"):
        write_entity_map(tile, Quantity("a", "a", np.zeros(3)), tmp_path, "m", "m")


def test_noise_is_that_of_the_settings(tiny_pretrained):
    noising = noising_of(tiny_pretrained.run_settings)
    assert (noising.num_timesteps, noising.noise_intensity) == (100, "dynamic")
    with pytest.raises(InputError, match="scheduler"):
        noising_of({"noising": {"noise_intensity": "dynamic"}})
