"""Maps of slides in superpixels against values that are computed tile by tile."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.stores.slide_map import opened_slide_map
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.networks.classifiers.embedding_heads import LinearHead
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.saving.classifier_file import Classifier
from hmgdm_monai.saving.patient_file import PatientModel
from hmgdm_monai.tasks.inference.embed import CohortEmbedding
from hmgdm_monai.tasks.inference.entity_maps import EntityMaps, MapSettings
from hmgdm_monai.tasks.inference.entity_values import EntityValues
from hmgdm_monai.tasks.inference.patient_values import patient_values
from hmgdm_monai.tasks.inference.quantities import principal_axis
from hmgdm_monai.transforms.quality import QualityLimits
from hmgdm_monai.transforms.tile_graph import TileGraph

SIDE = 160  # px at 0.5 um: five halves of a tile of 64 px


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, tiny, stained, write_tiff):
    """A slide of which the right fifth is glass, embedded, with a linear classifier."""
    folder = tmp_path_factory.mktemp("embedded")
    pixels = stained(SIDE, SIDE)
    pixels[:, 4 * SIDE // 5 :] = 244
    write_tiff(folder / "s.tif", [pixels])
    (folder / "c.csv").write_text("image,patient\ns.tif,p\n")
    encoder = tiny.encoder()
    torch.manual_seed(0)
    head = LinearHead(80, 2).set(torch.randn(2, 80), torch.randn(2))
    network = TileClassifier(encoder, head)
    classifier = Classifier(network, ("a", "b"), "linear", {}, encoder.run_settings, (), 0)
    recipe = recipe_of(encoder.run_settings)
    made = CohortEmbedding(encoder, recipe, folder / "c.csv", folder / "e", progress=False, classifier=classifier)
    made.run()
    return made


@pytest.fixture(scope="module")
def survival():
    torch.manual_seed(1)
    network = build_aggregator("amil", 80).eval()
    return PatientModel(network, CoxLoss(), {}, {"kind": "survival"})


def made_maps(embedded, folder, survival=None, **settings) -> EntityMaps:
    axis = principal_axis(list(embedded.result.slides.values()))
    values = EntityValues(embedded.encoder, axis, embedded.classifier, None if survival is None else [survival])
    return EntityMaps(embedded, values, MapSettings(**{"mpp": 2.0, **settings}), folder)


def direct(embedded, places):
    """Entity values of class a's probability of single tiles, painted at 0.5 um a pixel: (h, w) sums and counts."""
    row = embedded.manifest.rows[0]
    sums, counts = np.zeros((2 * SIDE, 2 * SIDE)), np.zeros((2 * SIDE, 2 * SIDE))
    for x, y in places:
        image = open_slide(row.image).read_regions(np.array([[x, y]]), 64, 0.5)[0].transpose(2, 0, 1)
        sample = embedded.encoder.to_sample(np.ascontiguousarray(image))
        with torch.no_grad():
            prepared = embedded.encoder.prepare(Batch.from_data_list([sample]))
            shares = embedded.classifier.network.entity_logits(prepared)[0].softmax(1)[:, 0].numpy()
        window = np.s_[y : y + 64, x : x + 64]
        sums[window] += shares[sample.label_map[0].numpy()]
        counts[window] += 1
    return sums[:SIDE, :SIDE], counts[:SIDE, :SIDE]


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_the_map_is_the_mean_of_the_tiles(embedded, tmp_path, overlap):
    path = made_maps(embedded, tmp_path, overlap=overlap).write("s")
    step = 32 if overlap else 64
    places = [(x, y) for y in range(0, SIDE - 32, step) for x in range(0, SIDE - 32, step)]
    sums, counts = direct(embedded, places)
    with opened_slide_map(path) as found:
        assert found.names == ("pc1", "probability_a", "probability_b")
        share = found.plane("probability_a")
        assert share.shape == (40, 40) and found.pixel_px == 4.0
        np.testing.assert_allclose(found.plane("probability_b"), 1 - share, atol=1e-6)
    tissue = np.zeros((40, 40), bool)
    # Away from the glass, whose superpixels are left out, and from the rows where tiles end beyond the slide.
    tissue[: 40 if overlap else 32, :24] = True
    expected = (sums / np.maximum(counts, 1))[2::4, 2::4]
    np.testing.assert_allclose(share[tissue], expected[tissue], atol=1e-5)
    assert np.isnan(share[:, 36:]).all()


def test_maps_are_kept_until_something_changes(embedded, survival, tmp_path):
    first = made_maps(embedded, tmp_path).write("s")
    stamp = first.stat().st_mtime_ns
    assert made_maps(embedded, tmp_path).write("s").stat().st_mtime_ns == stamp
    assert made_maps(embedded, tmp_path, mpp=3.0).write("s").stat().st_mtime_ns != stamp
    again = made_maps(embedded, tmp_path, survival).write("s")
    with opened_slide_map(again) as found:
        assert {"attention", "risk"} <= set(found.names)


def test_a_patient_model_sees_each_shifted_grid_as_a_bag(embedded, survival, tmp_path):
    """Attention is that of the tiles of the embedding; with overlap, the mean over four grids."""
    features = read_features(embedded.result.slides["s"])
    plain = patient_values([survival], features.features, features.coords, "cpu").attention
    with opened_slide_map(made_maps(embedded, tmp_path / "a", survival).write("s")) as found:
        attention = found.plane("attention")
        for (x, y), value in zip(features.coords.tolist(), plain, strict=True):
            here = attention[y // 4 : y // 4 + 16, x // 4 : x // 4 + 16]
            np.testing.assert_allclose(here[np.isfinite(here)], value, rtol=1e-5)
    with opened_slide_map(made_maps(embedded, tmp_path / "b", survival, overlap=0.5).write("s")) as found:
        assert abs(np.nanmean(found.plane("attention")) - 1) < 0.3  # each bag's mean is 1


def test_extremes_are_of_the_tiles_of_the_embedding(embedded, tmp_path):
    path = made_maps(embedded, tmp_path, overlap=0.5, extremes=2).write("s")
    features = read_features(embedded.result.slides["s"])
    with opened_slide_map(path) as found:
        best = found.arrays["1_tile_high"]
        assert len(best) == 2
        np.testing.assert_allclose(best[0, 0], features.scores[:, 0].max(), rtol=1e-4)
        assert best[0, 2:].tolist() == features.coords[features.scores[:, 0].argmax()].tolist()


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_tiles_that_the_quality_check_leaves_out_are_not_in_the_map(
    embedded, survival, tmp_path, stained, write_tiff, overlap
):
    pixels = stained(SIDE, SIDE)
    pixels[:64, :64] = (40, 70, 190)  # the ink of a blue pen
    write_tiff(tmp_path / "s.tif", [pixels])
    (tmp_path / "c.csv").write_text("image,patient\ns.tif,p\n")
    encoder, limits = embedded.encoder, QualityLimits(min_focus=None)  # the fixture's texture is smooth
    made = CohortEmbedding(
        encoder, embedded.recipe, tmp_path / "c.csv", tmp_path / "e", progress=False, quality_limits=limits
    )
    made.run()
    assert [0, 0] not in read_features(made.result.slides["s"]).coords.tolist()
    with opened_slide_map(made_maps(made, tmp_path / "m", survival, overlap=overlap).write("s")) as found:
        attention = found.plane("attention")
        assert np.isnan(attention[:8, :8]).all()  # all tiles here are under ink
        assert np.isfinite(attention[16:32, :16]).all()


def test_settings_out_of_range_are_one_line():
    for wrong in ({"overlap": 0.3}, {"mpp": 0.0}, {"extremes": 0}):
        with pytest.raises(InputError, match="must be"):
            MapSettings(**wrong)


@pytest.mark.parametrize("name", ["mean", "amil", "patch_gcn"])
def test_risks_of_entities_add_up_to_that_of_the_patient(name):
    """Attention of the tile, over the number of its entities, is the weight of an entity."""
    torch.manual_seed(0)
    network = build_aggregator(name, 5).eval()
    graph = TileGraph(2, 2) if network.uses_graph else None
    about = {} if graph is None else {"graph": {"spatial_k": 2, "feature_k": 2}}
    model = PatientModel(network, CoxLoss(), {}, {"kind": "survival"}, about=about)
    rng = np.random.default_rng(0)
    tile = np.repeat(np.arange(4), [3, 1, 5, 2])
    entities = rng.normal(size=(len(tile), 5)).astype(np.float32)
    tiles = np.stack([entities[tile == number].mean(0) for number in range(4)])
    coords = np.array([[0, 0], [64, 0], [0, 64], [64, 64]])

    found = patient_values([model], tiles, coords, "cpu", slopes=True)
    encoder = SimpleNamespace(
        parameters=lambda: iter([torch.zeros(1)]),
        prepare=lambda samples: samples,
        embed_entities=lambda samples: (torch.from_numpy(entities), torch.from_numpy(tile)),
        embed=lambda samples: torch.from_numpy(tiles),
    )
    maker = EntityValues(encoder, (np.zeros(5), np.ones(5)), patient_models=[model])
    values = maker.of_batch(Data(), found)
    share = found.attention[tile] / len(tiles) / np.bincount(tile)[tile]
    bag = Data(x=torch.from_numpy(tiles))
    if graph is not None:
        bag.edge_index = torch.from_numpy(graph(tiles, coords))
    with torch.no_grad():
        expected = float(network(Batch.from_data_list([bag]))[0, 0])
    names = [measure.name for measure in maker.measures]
    assert (share * values.entities[names.index("risk")]).sum() == pytest.approx(expected, abs=1e-4)
    for number in range(4):
        mean = values.entities[:, tile == number].mean(1)
        np.testing.assert_allclose(mean, values.tiles[:, number], atol=1e-4)
