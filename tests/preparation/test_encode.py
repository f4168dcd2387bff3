"""Encoding: each entity gets what the entity encoder gives it, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.degraded_tiles import DegradedTiles
from hmgdm_monai.preparation.encode import encode_stores
from hmgdm_monai.transforms.degrade import RandDegrade

# Of half precision: ten bits of fraction, and what a few batch sizes make of a sum.
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture(params=["backbone", "window_autoencoder"])
def entities(request: pytest.FixtureRequest, tiny: Any) -> EntityEncoder:
    return tiny.entities(request.param)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of tiles of the batches that any window autoencoder is given from here on."""
    from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder

    forward, found = WindowAutoencoder.forward, []

    def counted(self, graph):
        found.append(graph.num_graphs)
        return forward(self, graph)

    monkeypatch.setattr(WindowAutoencoder, "forward", counted)
    return found


def run(entities: EntityEncoder, paths: list[Path], folder: Path, **settings: Any) -> list[Path]:
    return encode_stores(entities, paths, folder, progress=False, **settings)


@pytest.mark.parametrize(("batch_tiles", "num_workers"), [(1, 0), (2, 1), (16, 0)])
def test_each_entity_gets_its_latent_whatever_the_batch(
    entities: EntityEncoder, graph_paths: list[Path], tmp_path: Path, batch_tiles: int, num_workers: int
) -> None:
    paths = run(entities, graph_paths, tmp_path / "z", batch_tiles=batch_tiles, num_workers=num_workers)
    store, source = LatentStore(paths), GraphStore(graph_paths)
    assert len(store) == len(source) == 5 and [unit.name for unit in store.units] == ["a", "b"]
    for index in range(5):
        latent, graph = store[index], source[index]
        assert torch.equal(latent.pos, graph.pos) and torch.equal(latent.edge_index, graph.edge_index)
        assert store.tile_info(index) == source.tile_info(index)
        with torch.no_grad():
            vertices, edges = entities(graph)
        torch.testing.assert_close(latent.vertex_latents, vertices, **CLOSE)
        torch.testing.assert_close(latent.edge_latents, edges, **CLOSE)
    assert store[1].edge_latents.shape == (0, entities.latent_dim)  # of one color
    assert not torch.allclose(store[0].vertex_latents.mean(0), store[2].vertex_latents.mean(0), **CLOSE)


def test_what_stands_is_not_encoded_again_unless_another_encoder_asks(
    tiny: Any, graph_paths: list[Path], tmp_path: Path, calls: list[int]
) -> None:
    entities = tiny.entities("window_autoencoder")
    first = run(entities, graph_paths, tmp_path)
    assert calls == [3, 2]  # tiles share batches, units do not
    assert run(tiny.entities("window_autoencoder"), graph_paths, tmp_path) == first and calls == [3, 2]
    first[1].unlink()
    assert run(entities, graph_paths, tmp_path, batch_tiles=1) == first and calls == [3, 2, 1, 1]
    with torch.no_grad():
        next(entities.parameters()).add_(0.01)
    assert not set(run(entities, graph_paths, tmp_path)) & set(first)
    assert not set(run(tiny.entities("window_autoencoder", window_px=6), graph_paths, tmp_path)) & set(first)


def test_degraded_views_have_units_of_their_own_and_the_same_entities(
    entities: EntityEncoder, graph_paths: list[Path], tmp_path: Path
) -> None:
    def view(number: int, **settings: Any) -> list[Path]:
        return run(entities, graph_paths, tmp_path, degrade=RandDegrade(**settings), view=number)

    clean, first, second, other = run(entities, graph_paths, tmp_path), view(1), view(2), view(1, blur_probability=0.0)
    assert len({*clean, *first, *second, *other}) == 8
    assert view(1) == first and run(entities, graph_paths, tmp_path) == clean
    stores = [LatentStore(paths) for paths in (clean, first, second)]
    tiles = DegradedTiles(graph_paths, RandDegrade(), 1)
    for index in range(5):
        whole, seen, another = (store[index] for store in stores)
        assert torch.equal(seen.edge_index, whole.edge_index) and seen.num_vertices == whole.num_vertices
        with torch.no_grad():
            vertices, edges = entities(tiles[index])
        torch.testing.assert_close(seen.vertex_latents, vertices, **CLOSE)
        torch.testing.assert_close(seen.edge_latents, edges, **CLOSE)
        for one in (whole, another):
            assert not torch.allclose(seen.vertex_latents, one.vertex_latents, **CLOSE)


@pytest.mark.parametrize("how", [{}, {"degrade": RandDegrade(), "view": 1}], ids=["clean", "degraded"])
@pytest.mark.parametrize("kind", ["backbone", "window_autoencoder"])
def test_without_latents_of_edges_vertices_get_the_same(
    tiny: Any, graph_paths: list[Path], tmp_path: Path, kind: str, how: dict
) -> None:
    whole, bare = (tiny.entities(kind, edge_latents=edges) for edges in (True, False))
    paths, bare_paths = (run(entities, graph_paths, tmp_path, **how) for entities in (whole, bare))
    assert not set(paths) & set(bare_paths)
    for graph, other in zip(LatentStore(paths), LatentStore(bare_paths), strict=True):
        torch.testing.assert_close(other.vertex_latents, graph.vertex_latents, **CLOSE)
        assert torch.equal(other.edge_index, graph.edge_index)
        assert "edge_latents" in graph and "edge_latents" not in other


def test_an_interrupted_run_leaves_whole_units_and_goes_on(
    tiny: Any, graph_paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entities = tiny.entities("window_autoencoder")
    encode, given = type(entities).encode, []

    def interrupted(self, windows):
        given.append(len(windows))
        if len(given) == 8:  # vertices and edges, one tile a batch: the last tile's
            raise KeyboardInterrupt
        return encode(self, windows)

    with monkeypatch.context() as patch:
        patch.setattr(type(entities), "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(entities, graph_paths, tmp_path / "z", batch_tiles=1)
    (left,) = (tmp_path / "z").iterdir()
    assert left.suffix == ".h5"
    written = left.stat().st_mtime_ns
    paths = run(entities, graph_paths, tmp_path / "z", batch_tiles=1)
    assert paths[0] == left and left.stat().st_mtime_ns == written
    whole = LatentStore(run(entities, graph_paths, tmp_path / "whole", batch_tiles=1))
    for graph, other in zip(LatentStore(paths), whole, strict=True):
        assert torch.equal(graph.vertex_latents, other.vertex_latents)


def test_what_is_missing_is_told(tiny: Any, graph_paths: list[Path], tmp_path: Path) -> None:
    entities = tiny.entities("window_autoencoder")
    with pytest.raises(InputError, match="does not exist"):
        run(entities, [tmp_path / "none.h5"], tmp_path / "z")
    with pytest.raises(InputError, match="batch_tiles must be at least 1"):
        run(entities, graph_paths, tmp_path / "z", batch_tiles=0)
