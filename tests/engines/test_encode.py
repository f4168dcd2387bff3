from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hmgdm_monai.data.graph_store import GraphStore, TileGraph, write_unit
from hmgdm_monai.data.latent_store import LatentStore
from hmgdm_monai.engines.degraded_graphs import DegradedGraphs
from hmgdm_monai.engines.encode import encode_stores
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.degrade import RandDegrade
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.superpixels import Superpixels


class StandIn(nn.Module):
    """Latents that tell the windows apart; counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()
        self.weight = nn.Parameter(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
        self.batches: list[int] = []

    def encode(self, windows: torch.Tensor) -> torch.Tensor:
        assert windows.dtype == torch.float32
        assert 0 <= windows.min() <= windows.max() <= 1
        assert not torch.is_grad_enabled()
        self.batches.append(len(windows))
        return self.dropout(windows.mean((2, 3)) @ self.weight)


@pytest.fixture
def graphs(tmp_path, stained):
    """Units of 3 tiles and of 2, one of them of one colour."""
    pixels = stained(64 * 4, 64)

    def tile(unit: str, number: int) -> TileGraph:
        image = pixels[:, 64 * number : 64 * (number + 1)].transpose(2, 0, 1)
        if number == 1:
            image = np.full_like(image, 90)
        graph = build_entity_graph(image, Superpixels(12)(image), windows=False, keep_label_map=True)
        return TileGraph(graph, f"{unit}/row{number}", (64 * number, 7), 0.5, image.transpose(1, 2, 0))

    return [
        write_unit(tmp_path / "graphs", name, (tile(name, number) for number in numbers), {"n_segments": 12})
        for name, numbers in (("a", (0, 1, 2)), ("b", (3, 0)))
    ]


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "autoencoder.pt").write_bytes(b"weights")
    return tmp_path / "autoencoder.pt"


def expected(autoencoder: StandIn, graph) -> list[torch.Tensor]:  # noqa: ANN001
    return [
        (part.float() / 255).mean((2, 3)) @ autoencoder.weight.detach()
        for part in (graph.vertex_windows, graph.edge_windows)
    ]


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("batch_windows", [1, 10, 4096])
def test_each_window_gets_the_latent_of_the_autoencoder(tmp_path, graphs, checkpoint, batch_windows, num_workers):
    autoencoder = StandIn().train()
    paths = encode_stores(
        autoencoder, graphs, tmp_path / "z", checkpoint, 16, batch_windows, num_workers=num_workers, progress=False
    )
    assert autoencoder.training
    assert max(autoencoder.batches) <= batch_windows
    store, source = LatentStore(paths), GraphStore(graphs, window_px=16)
    assert len(store) == len(source) == 5
    assert sum(autoencoder.batches) == sum(g.num_vertices + g.edge_index.shape[1] for g in store)
    for index in range(5):
        latent, graph = store[index], source[index]
        assert torch.equal(latent.pos, graph.pos)
        assert torch.equal(latent.edge_index, graph.edge_index)
        assert store.tile_info(index) == source.tile_info(index)
        vertices, edges = expected(autoencoder, graph)
        assert torch.allclose(latent.vertex_latents, vertices, atol=2e-3)
        assert torch.allclose(latent.edge_latents, edges, atol=2e-3)
    assert store[1].edge_latents.shape == (0, 5)


def test_tiles_share_batches(tmp_path, graphs, checkpoint):
    autoencoder = StandIn()
    encode_stores(autoencoder, graphs, tmp_path / "z", checkpoint, 16, progress=False)
    assert len(autoencoder.batches) == 2  # one for each unit


def test_what_stands_is_not_encoded_again_unless_something_that_shaped_it_changed(tmp_path, graphs, checkpoint):
    def run(**kwargs):
        autoencoder = StandIn()
        arguments = {"window_px": 16, "progress": False, **kwargs}
        paths = encode_stores(autoencoder, graphs, tmp_path / "z", checkpoint, **arguments)
        return paths, len(autoencoder.batches)

    first, batches = run()
    assert batches == 2
    assert run() == (first, 0)
    first[1].unlink()
    assert run() == (first, 1)
    assert not set(run(window_px=8)[0]) & set(first)
    checkpoint.write_bytes(b"other weights")
    assert not set(run()[0]) & set(first)


def test_degraded_views_have_units_of_their_own_and_the_same_entities(tmp_path, graphs, checkpoint):
    def run(**kwargs):
        return encode_stores(StandIn().eval(), graphs, tmp_path / "z", checkpoint, 16, progress=False, **kwargs)

    clean, first, second = run(), run(degrade=RandDegrade(), view=1), run(degrade=RandDegrade(), view=2)
    other = run(degrade=RandDegrade(blur_probability=0.0), view=1)
    assert len({*clean, *first, *second, *other}) == 8
    assert run(degrade=RandDegrade(), view=1) == first and run() == clean
    stores, source = (
        [LatentStore(paths) for paths in (clean, first, second)],
        DegradedGraphs(graphs, RandDegrade(), 1, 16),
    )
    for index in range(5):
        whole, view, another = (store[index] for store in stores)
        assert torch.equal(view.pos, whole.pos) and torch.equal(view.edge_index, whole.edge_index)
        vertices, _ = expected(StandIn(), source[index])
        assert torch.allclose(view.vertex_latents, vertices, atol=2e-3)
        assert not torch.allclose(view.vertex_latents, whole.vertex_latents, atol=2e-3)
        assert not torch.allclose(view.vertex_latents, another.vertex_latents, atol=2e-3)


@pytest.mark.parametrize("how", [{}, {"degrade": RandDegrade(), "view": 1}], ids=["clean", "degraded"])
def test_without_windows_of_edges_vertices_get_the_same_latents(tmp_path, graphs, checkpoint, how):
    def run(**kwargs):
        autoencoder = StandIn().eval()
        paths = encode_stores(autoencoder, graphs, tmp_path / "z", checkpoint, 16, progress=False, **how, **kwargs)
        return paths, LatentStore(paths), sum(autoencoder.batches)

    paths, store, count = run()
    bare_paths, bare, bare_count = run(edge_windows=False)
    assert not set(paths) & set(bare_paths)
    assert run(edge_windows=False)[::2] == (bare_paths, 0) and run(edge_windows=True)[::2] == (paths, 0)
    assert bare_count == sum(graph.num_vertices for graph in store) < count
    for index in range(5):
        assert torch.equal(bare[index].vertex_latents, store[index].vertex_latents)
        assert torch.equal(bare[index].edge_index, store[index].edge_index)
        assert "edge_latents" not in bare[index] and "edge_latents" in store[index]


def test_an_interrupted_run_leaves_whole_units(tmp_path, graphs, checkpoint):
    class Interrupted(StandIn):
        def encode(self, windows):
            if len(self.batches) == 3:
                raise KeyboardInterrupt
            return super().encode(windows)

    with pytest.raises(KeyboardInterrupt):
        encode_stores(Interrupted(), graphs, tmp_path / "z", checkpoint, 16, 1 << 5, progress=False)
    left = sorted((tmp_path / "z").iterdir())
    assert all(path.suffix == ".h5" for path in left)
    paths = encode_stores(StandIn(), graphs, tmp_path / "z", checkpoint, 16, 1 << 5, progress=False)
    assert set(left) < set(paths)
    assert len(LatentStore(paths)) == 5


def test_what_is_missing_is_told(tmp_path, graphs, checkpoint):
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        encode_stores(StandIn(), graphs, tmp_path / "z", tmp_path / "none.pt", progress=False)
    with pytest.raises(InputError, match="not there"):
        encode_stores(StandIn(), [tmp_path / "none.h5"], tmp_path / "z", checkpoint, progress=False)
    with pytest.raises(InputError, match="batch_windows"):
        encode_stores(StandIn(), graphs, tmp_path / "z", checkpoint, batch_windows=0, progress=False)
