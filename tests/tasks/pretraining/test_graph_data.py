"""Who is held out, and what the stages get to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData
from hmgdm_monai.transforms.entity_windows import graph_windows
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


def open_data(manifest: Path, stores: Path, **settings) -> PretrainingData:
    recipe = TileRecipe(TileSpec(size_px=128, mpp=1.0), graph_transforms(Superpixels(n_segments=12)), 2)
    return PretrainingData(manifest, stores, recipe, **settings)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("fraction", "held_out"), [(0.01, 1), (0.5, 3), (0.7, 4)])
def test_patients_are_on_one_side(small_cohort: Path, stores: Path, seed: int, fraction: float, held_out: int) -> None:
    data = open_data(small_cohort, stores, val_fraction=fraction)
    data.seed = seed  # of the split; the tiles drawn stay, so that the stores are built once
    training, validation = set(data.patients("training")), set(data.patients("validation"))
    assert not training & validation and len(validation) == held_out and len(training | validation) == 6
    rows = data.cohort.tile_rows
    assert {rows[i].patient for i in data.tile_indices("training")} == training
    assert {rows[i].patient for i in data.tile_indices("validation")} == validation
    assert sorted(data.tile_indices("training") + data.tile_indices("validation")) == list(range(len(rows)))


def test_the_seed_chooses_who(small_cohort: Path, stores: Path) -> None:
    data = open_data(small_cohort, stores)
    chosen = set()
    for seed in range(8):
        data.seed = seed
        chosen.add(tuple(data.patients("validation")))
        assert data.patients("validation") == data.patients("validation")
    assert len(chosen) > 1


@pytest.fixture(scope="module")
def encoded(small_cohort: Path, stores: Path, tiny: Any) -> Callable[..., PretrainingData]:
    """Function (settings) -> data whose graphs are encoded by the backbone in miniature."""

    def build(edge_latents: bool = True, **settings) -> PretrainingData:
        data = open_data(small_cohort, stores, **settings)
        data.encode(tiny.entities(edge_latents=edge_latents))
        return data

    return build


def test_latents_are_read_once_encoded(small_cohort: Path, stores: Path, tiny: Any) -> None:
    data, entities = open_data(small_cohort, stores), tiny.entities()
    graphs = data.latent_graphs("training")  # a config builds its data sets first
    assert len(graphs) == len(data.tile_indices("training")) and len(data.latent_graphs()) == len(data.cohort.tile_rows)
    with pytest.raises(InputError, match="encode the cohort first"):
        graphs[0]
    assert data.cpu_s == 0
    data.encode(entities)
    assert data.cpu_s > 0
    tiles = data.tile_graphs("training")
    assert len(tiles) == len(graphs) and tiles[1].image.shape == (1, 3, 128, 128)
    with torch.no_grad():
        vertices, edges = entities(tiles[1])
    torch.testing.assert_close(graphs[1].vertex_latents, vertices, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(graphs[1].edge_latents, edges, rtol=1e-3, atol=1e-3)


def test_the_scale_is_fitted_to_latents_of_training_tiles(encoded: Callable[..., PretrainingData]) -> None:
    data = encoded()
    latents = data.sample_latents()
    graphs = data.latent_graphs("training")
    assert len(latents) == sum(graph.num_vertices + graph.edge_index.shape[1] for graph in graphs)
    assert torch.equal(latents, data.sample_latents())
    known = {row.numpy().tobytes() for graph in graphs for row in (*graph.vertex_latents, *graph.edge_latents)}
    assert {row.numpy().tobytes() for row in data.sample_latents(tiles=2)} <= known
    assert len(data.sample_latents(tiles=2)) < len(latents)


def test_degraded_views_come_with_the_graphs_that_are_asked_for_with_them(
    encoded: Callable[..., PretrainingData], stores: Path
) -> None:
    data = encoded(degraded_views=2)
    graphs, plain = data.latent_graphs("training", views=True), data.latent_graphs("training")
    for index in (0, len(graphs) - 1):
        graph, place = graphs[index], data.tile_indices("training")[index]
        assert torch.equal(graph.vertex_latents, plain[index].vertex_latents) and "vertex_views" not in plain[index]
        assert torch.equal(graph.pos, plain[index].pos)  # views are turned, the graph is not
        assert graph.vertex_views.shape == (graph.num_vertices, 2, 24)
        assert graph.edge_views.shape == (graph.edge_index.shape[1], 2, 24)
        for view in (1, 2):
            assert torch.equal(graph.vertex_views[:, view - 1], data.latents(view)[place].vertex_latents)
            assert torch.equal(graph.edge_views[:, view - 1], data.latents(view)[place].edge_latents)
    assert len(list((stores / "views").glob("*.h5"))) == 2 * len(data.cohort.paths)
    assert "vertex_views" not in encoded().latent_graphs("training", views=True)[0]


def test_without_latents_of_edges_there_are_none_of_anything_on_edges(encoded: Callable[..., PretrainingData]) -> None:
    whole, bare = (encoded(edges, degraded_views=1) for edges in (True, False))
    graphs = [data.latent_graphs("training", views=True)[0] for data in (whole, bare)]
    for part in ("latents", "views"):
        torch.testing.assert_close(*(graph[f"vertex_{part}"] for graph in graphs), rtol=1e-3, atol=1e-3)
        assert f"edge_{part}" in graphs[0] and f"edge_{part}" not in graphs[1]
    assert 0 < len(bare.sample_latents()) < len(whole.sample_latents())
    assert bare.fingerprint() == whole.fingerprint()


def test_superpixels_of_pictures_are_of_training_tiles(encoded: Callable[..., PretrainingData]) -> None:
    data = encoded()
    index = data.superpixel_index(superpixels=30, window_px=16)
    assert index.latents.shape == (30, 24) and index.windows_uint8.shape == (30, 3, 16, 16)
    assert torch.equal(index.latents, data.superpixel_index(superpixels=30, window_px=16).latents)
    pairs = set()
    for graph, latent in zip(data.tile_graphs("training"), data.latent_graphs("training"), strict=True):
        windows, _ = graph_windows(graph, 16, edges=False)
        rows = zip(latent.vertex_latents, windows, strict=True)
        pairs |= {row.numpy().tobytes() + window.numpy().tobytes() for row, window in rows}
    found = zip(index.latents, index.windows_uint8, strict=True)
    assert {row.numpy().tobytes() + window.numpy().tobytes() for row, window in found} <= pairs
    assert len(data.superpixel_index(window_px=16).latents) == len(pairs)  # all there are, where that is fewer


def test_labels_stay_with_their_tiles(small_cohort: Path, stores: Path) -> None:
    data = open_data(small_cohort, stores)
    indices, rows = data.labeled_tiles()
    assert indices == list(range(len(data.cohort.tile_rows)))
    assert [row.label for row in rows] == [data.cohort.tile_rows[i].label for i in indices]
    few, few_rows = data.labeled_tiles(most=4)
    assert len(few) == 4 == len(few_rows) and few == sorted(few) == data.labeled_tiles(most=4)[0]


def test_another_cohort_has_another_fingerprint(small_cohort: Path, stores: Path) -> None:
    data = open_data(small_cohort, stores)
    assert data.fingerprint().startswith("6 patients, 12 tiles (")
    assert data.fingerprint() == open_data(small_cohort, stores).fingerprint()
    fewer = small_cohort.parent / "fewer.csv"
    fewer.write_text("\n".join(small_cohort.read_text().splitlines()[:-1]) + "\n")
    assert open_data(fewer, stores).fingerprint() != data.fingerprint()
    data.val_fraction = 0.7
    assert open_data(small_cohort, stores).fingerprint() != data.fingerprint()


def test_faults(small_cohort: Path, stores: Path) -> None:
    with pytest.raises(InputError, match="val_fraction must lie between 0 and 1"):
        open_data(small_cohort, stores, val_fraction=1.0)
    with pytest.raises(InputError, match="degraded_views must not be negative"):
        open_data(small_cohort, stores, degraded_views=-1)
    lone = small_cohort.parent / "lone.csv"
    lone.write_text("\n".join(small_cohort.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(InputError, match="give two or more") as caught:
        open_data(lone, stores).tile_graphs("training")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="split must be one of"):
        open_data(small_cohort, stores).patients("test")
