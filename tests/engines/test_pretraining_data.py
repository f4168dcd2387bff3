"""Who is held out, and what the stages get to read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hmgdm_monai.data.entity_graph import entity_windows
from hmgdm_monai.data.tiling import TileSpec
from hmgdm_monai.engines.pretraining_data import PretrainingData
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.superpixels import Superpixels


class Means(torch.nn.Module):
    """Stands in for an autoencoder: the mean colour of each window."""

    def encode(self, windows: torch.Tensor) -> torch.Tensor:
        return windows.mean((2, 3))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


def open_data(manifest: Path, stores: Path, **settings) -> PretrainingData:
    spec = TileSpec(size_px=128, mpp=1.0)
    return PretrainingData(manifest, stores, spec, Superpixels(n_segments=12), **{"max_tiles_per_slide": 3, **settings})


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("fraction", "held_out"), [(0.01, 1), (0.5, 2), (0.75, 3)])
def test_patients_are_on_one_side(small_cohort: Path, stores: Path, seed: int, fraction: float, held_out: int) -> None:
    data = open_data(small_cohort, stores, val_fraction=fraction)
    data.seed = seed  # of the split; the tiles drawn stay, so that the stores are built once
    training, validation = set(data.patients("training")), set(data.patients("validation"))
    assert not training & validation and len(validation) == held_out and len(training | validation) == 4
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


def test_training_samples_come_from_training_patients(small_cohort: Path, stores: Path) -> None:
    data = open_data(small_cohort, stores)
    windows, tiles, originals = data.sample_windows(100)
    assert windows.shape[1:] == (3, 32, 32) and len(windows) == len(tiles) <= 100
    assert windows.min() >= 0 and windows.max() <= 1
    assert torch.equal(windows, data.sample_windows(100).windows) and torch.equal(windows, originals)

    def content(some: torch.Tensor) -> set[bytes]:
        return {(255 * window).round().byte().numpy().tobytes() for window in some}

    known = [content(entity_windows(graph).float() / 255) for graph in data.window_graphs("training")]
    assert content(windows) <= set().union(*known)
    for tile in tiles.unique():  # those of a tile are of one graph
        assert any(content(windows[tiles == tile]) <= of_graph for of_graph in known)


def test_latents_are_read_once_encoded(small_cohort: Path, stores: Path, tmp_path: Path) -> None:
    data = open_data(small_cohort, stores)
    graphs = data.latent_graphs("training")  # a config builds its data sets first
    assert len(graphs) == len(data.tile_indices("training")) and len(data.latent_graphs()) == len(data.cohort.tile_rows)
    with pytest.raises(InputError, match="run the autoencoder stage first"):
        graphs[0]
    (tmp_path / "weights.pt").write_bytes(b"weights")
    assert data.cpu_s == 0
    data.encode(Means(), tmp_path / "weights.pt")
    assert data.cpu_s > 0
    expected = data.window_graphs("training")[1].vertex_windows.float().div(255).mean((2, 3))
    assert torch.allclose(graphs[1].vertex_latents, expected, atol=1e-3)
    assert data.sample_latents().shape[1] == 3


def test_degraded_views_come_with_the_graphs_that_are_asked_for_with_them(
    small_cohort: Path, stores: Path, tmp_path: Path
) -> None:
    data = open_data(small_cohort, stores, degraded_views=2)
    graphs, plain = data.latent_graphs("training", views=True), data.latent_graphs("training")
    (tmp_path / "weights.pt").write_bytes(b"weights")
    data.encode(Means(), tmp_path / "weights.pt")
    for index in (0, len(graphs) - 1):
        graph, place = graphs[index], data.tile_indices("training")[index]
        assert torch.equal(graph.vertex_latents, plain[index].vertex_latents) and "vertex_views" not in plain[index]
        assert graph.vertex_views.shape == (graph.num_vertices, 2, 3)
        assert graph.edge_views.shape == (graph.edge_index.shape[1], 2, 3)
        for view in (1, 2):
            assert torch.equal(graph.vertex_views[:, view - 1], data.latents(view)[place].vertex_latents)
            assert torch.equal(graph.edge_views[:, view - 1], data.latents(view)[place].edge_latents)
    assert len(list((stores / "views").glob("*.h5"))) == 2 * len(data.cohort.paths)
    without = open_data(small_cohort, stores)
    without.encode(Means(), tmp_path / "weights.pt")
    assert "vertex_views" not in without.latent_graphs("training", views=True)[0]


def test_a_quarter_of_the_sampled_windows_is_blurred_and_a_quarter_compressed(small_cohort: Path, stores: Path) -> None:
    plain, data = open_data(small_cohort, stores), open_data(small_cohort, stores, degraded_views=1)
    clean, (mixed, tiles, originals) = plain.sample_windows(400).windows, data.sample_windows(400)
    assert mixed.shape == clean.shape and torch.equal(mixed, data.sample_windows(400).windows)
    assert torch.equal(originals, clean) and torch.equal(tiles, plain.sample_windows(400).tiles)
    kept = (mixed == clean).flatten(1).all(1)
    assert kept.sum() == len(clean) - 2 * (len(clean) // 4)

    def roughness(windows: torch.Tensor) -> torch.Tensor:
        return (windows[..., 1:] - windows[..., :-1]).abs().mean((1, 2, 3))

    # A Gaussian takes half of the roughness or more; compression keeps it, and puts edges between its blocks in.
    left = (roughness(mixed) / roughness(clean))[~kept]
    assert (left < 0.7).sum() >= 0.8 * (len(clean) // 4)
    assert (left > 0.7).sum() >= 0.8 * (len(clean) // 4)


def test_without_windows_of_edges_there_are_none_of_anything_on_edges(
    small_cohort: Path, stores: Path, tmp_path: Path
) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    whole, bare = (open_data(small_cohort, stores, degraded_views=1, edge_windows=edges) for edges in (True, False))
    for data in (whole, bare):
        data.encode(Means(), tmp_path / "weights.pt")
    windows = [data.window_graphs("training")[0] for data in (whole, bare)]
    latents = [data.latent_graphs("training", views=True)[0] for data in (whole, bare)]
    for graphs, parts in ((windows, ("windows",)), (latents, ("latents", "views"))):
        for part in parts:
            assert torch.equal(*(graph[f"vertex_{part}"] for graph in graphs))
            assert f"edge_{part}" in graphs[0] and f"edge_{part}" not in graphs[1]
    assert 0 < len(bare.sample_latents()) < len(whole.sample_latents())
    assert bare.fingerprint() == whole.fingerprint()


def test_labels_stay_with_their_tiles(small_cohort: Path, stores: Path) -> None:
    data = open_data(small_cohort, stores)
    indices, rows = data.labelled_tiles()
    assert indices == list(range(len(data.cohort.tile_rows)))
    assert [row.label for row in rows] == [data.cohort.tile_rows[i].label for i in indices]
    few, few_rows = data.labelled_tiles(most=4)
    assert len(few) == 4 == len(few_rows) and few == sorted(few) == data.labelled_tiles(most=4)[0]


def test_another_cohort_has_another_fingerprint(small_cohort: Path, stores: Path) -> None:
    data = open_data(small_cohort, stores)
    assert data.fingerprint().startswith("4 patients, 12 tiles (")
    assert data.fingerprint() == open_data(small_cohort, stores).fingerprint()
    fewer = small_cohort.parent / "fewer.csv"
    fewer.write_text("\n".join(small_cohort.read_text().splitlines()[:-1]) + "\n")
    assert open_data(fewer, stores).fingerprint() != data.fingerprint()
    data.val_fraction = 0.5
    assert open_data(small_cohort, stores).fingerprint() != data.fingerprint()


def test_faults(small_cohort: Path, stores: Path) -> None:
    with pytest.raises(InputError, match="val_fraction must lie between 0 and 1"):
        open_data(small_cohort, stores, val_fraction=1.0)
    with pytest.raises(InputError, match="degraded_views must not be negative"):
        open_data(small_cohort, stores, degraded_views=-1)
    lone = small_cohort.parent / "lone.csv"
    lone.write_text("\n".join(small_cohort.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(InputError, match="give two or more") as caught:
        open_data(lone, stores).window_graphs("training")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="section must be one of"):
        open_data(small_cohort, stores).patients("test")
