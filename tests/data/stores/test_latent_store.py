"""The latent store: latents as they were encoded, under a key that names the entity encoder."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch
from torch_geometric.loader import DataLoader

from hmgdm_monai.data.entity_graph import EntityGraph, entity_latents
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.latent_store import LatentStore, latent_settings, write_latent_unit
from hmgdm_monai.data.stores.ragged_store import TileInfo
from hmgdm_monai.data.stores.ragged_unit import StoredTile, settings_key
from hmgdm_monai.errors import InputError

WIDTH = 7
GRAPH_SETTINGS = {"n_segments": 50}
DIGEST = "of-an-entity-encoder"


def make_tiles(sizes: tuple[tuple[int, int], ...] = ((4, 5), (1, 0), (600, 900))) -> list[StoredTile]:
    """Tiles of (V, E) each; the largest spans several chunks of the file."""
    generator = torch.Generator().manual_seed(0)
    tiles = []
    for index, (vertices, edges) in enumerate(sizes):
        graph = EntityGraph(
            pos=torch.rand(vertices, 2, generator=generator),
            edge_index=torch.randint(vertices, (2, edges), generator=generator),
            vertex_latents=torch.randn(vertices, WIDTH, generator=generator),
            edge_latents=torch.randn(edges, WIDTH, generator=generator),
        )
        tiles.append(StoredTile(graph, f"slides/{index}", (index, -index), 0.5))
    return tiles


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_reads_what_was_written(tmp_path: Path, dtype: str) -> None:
    tiles = make_tiles()
    settings = latent_settings(GRAPH_SETTINGS, DIGEST, dtype)
    store = LatentStore([write_latent_unit(tmp_path, "a", tiles, settings)])
    assert len(store) == len(tiles)
    for index, tile in enumerate(tiles):
        read = store[index]
        assert torch.equal(read.pos, tile.graph.pos)
        assert torch.equal(read.edge_index, tile.graph.edge_index)
        for name in ("vertex_latents", "edge_latents"):
            assert read[name].dtype == torch.float32
            assert torch.equal(read[name], tile.graph[name].to(getattr(torch, dtype)).float())
        assert store.tile_info(index) == TileInfo("a", tile.row_id, tile.location_px, tile.mpp)
    assert store.units[0].settings == settings


def test_units_with_and_without_latents_of_edges_are_read_side_by_side(tmp_path: Path) -> None:
    tiles, bare = make_tiles(), make_tiles()
    for tile in bare:
        del tile.graph.edge_latents
    settings = [latent_settings(GRAPH_SETTINGS, DIGEST, "float32", edge_latents=edges) for edges in (True, False)]
    paths = [write_latent_unit(tmp_path, "a", part, each) for part, each in zip((tiles, bare), settings, strict=True)]
    assert paths[0] != paths[1]
    with h5py.File(paths[1]) as file:
        assert "edge_latents" not in file and "edge_index" in file
    store = LatentStore(paths)
    for index, tile in enumerate(tiles):
        whole, vertices = store[index], store[len(tiles) + index]
        assert torch.equal(whole.edge_latents, tile.graph.edge_latents) and "edge_latents" not in vertices
        assert torch.equal(vertices.vertex_latents, whole.vertex_latents)
        assert torch.equal(vertices.edge_index, whole.edge_index)
        assert torch.equal(entity_latents(vertices), whole.vertex_latents)
        assert torch.equal(entity_latents(whole), torch.cat((whole.vertex_latents, whole.edge_latents)))


def test_batches_with_workers(tmp_path: Path) -> None:
    tiles = make_tiles()
    path = write_latent_unit(tmp_path, "a", tiles, latent_settings(GRAPH_SETTINGS, DIGEST, "float32"))
    (batch,) = DataLoader(LatentStore([path]), batch_size=3, num_workers=2, multiprocessing_context="fork")
    assert torch.equal(batch.edge_latents, torch.cat([tile.graph.edge_latents for tile in tiles]))
    assert torch.equal(batch.vertex_batch.bincount(), torch.tensor([4, 1, 600]))


def test_key_follows_graphs_entity_encoder_type_and_edges() -> None:
    def key(graph_settings: dict[str, int] = GRAPH_SETTINGS, digest: str = DIGEST, **kind: object) -> str:
        return settings_key(latent_settings(graph_settings, digest, **kind))

    assert key() == key(dict(GRAPH_SETTINGS), str(DIGEST))
    others = key(digest="of-another"), key({"n_segments": 51}), key(dtype="float32"), key(edge_latents=False)
    assert len({key(), *others}) == 5


@pytest.mark.parametrize("bad", [float("nan"), 1e6], ids=["NaN", "beyond float16"])
def test_latents_that_do_not_fit_are_refused(tmp_path: Path, bad: float) -> None:
    (tile,) = make_tiles(((3, 2),))
    tile.graph.edge_latents[1, 1] = bad
    folder = tmp_path / "latents"
    with pytest.raises(ValueError, match="edge_latents holds"):
        write_latent_unit(folder, "a", [tile], latent_settings(GRAPH_SETTINGS, DIGEST))
    assert list(folder.iterdir()) == []


def test_latents_that_miss_an_entity_are_refused(tmp_path: Path) -> None:
    (tile,) = make_tiles(((3, 2),))
    tile.graph.vertex_latents = tile.graph.vertex_latents[:2]
    with pytest.raises(ValueError, match="vertex_latents has shape"):
        write_latent_unit(tmp_path, "a", [tile], latent_settings(GRAPH_SETTINGS, DIGEST))


def test_the_stores_do_not_read_each_other_s_units(tmp_path: Path) -> None:
    path = write_latent_unit(tmp_path, "a", make_tiles(), latent_settings(GRAPH_SETTINGS, DIGEST))
    with pytest.raises(InputError, match="latent entity graphs"):
        GraphStore([path])
