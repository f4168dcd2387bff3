"""Graphs of another program as a cohort: good files stored once, bad ones named, trained on and embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipes import NOISING, recipe_settings
from torch_geometric.data import Data

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.entities.build import build_entities
from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.given_graphs import build_given_graphs
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.saving.encoder_file import load_encoder, save_encoder
from hmgdm_monai.tasks.inference.embed_graphs import embed_given_graphs
from hmgdm_monai.tasks.pretraining.given_entities import given_entities
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

D = 3


def graphs(count: int, seed: int, channels: int = D, edge_attr: bool = False) -> list[Data]:
    draw = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        ends = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 3]])
        one = Data(x=torch.randn(4 + number, channels, generator=draw), edge_index=ends, pos=torch.rand(4 + number, 2))
        if edge_attr:
            one.edge_attr = torch.randn(4, channels, generator=draw)
        found.append(one)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files a to d of 2, 3, 2 and 2 graphs, with latents of edges, and a manifest that names them and no image."""
    for seed, (name, count) in enumerate({"a": 2, "b": 3, "c": 2, "d": 2}.items()):
        torch.save(graphs(count, seed, edge_attr=True), tmp_path / f"{name}.pt")
    write(tmp_path, *(f"{name}.pt,p{name},x" for name in "abcd"))
    return tmp_path


def write(folder: Path, *rows: str, header: str = "graphs,patient,label") -> Path:
    (folder / "m.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "m.csv"


def data(folder: Path, **settings: Any) -> PretrainingData:
    return PretrainingData(
        folder / "m.csv", folder / "stores", TileRecipe(TileSpec(), None), val_fraction=0.25, **settings
    )


def test_graphs_of_all_files_in_the_order_of_the_manifest(folder: Path) -> None:
    cohort = build_given_graphs(folder / "m.csv", folder / "s", progress=False)
    store = cohort.store()
    assert cohort.done == [("a", 2), ("b", 3), ("c", 2), ("d", 2)]
    assert cohort.indices_by_patient() == {"pa": [0, 1], "pb": [2, 3, 4], "pc": [5, 6], "pd": [7, 8]}
    assert "4 files of graphs (9 graphs)" in cohort.summary()
    assert torch.equal(store[3].vertex_latents, graphs(3, 1, edge_attr=True)[1].x)
    assert store[3].edge_index.T.tolist() == [[0, 1], [0, 2], [1, 2], [2, 3]]
    assert store[3].edge_latents.shape == (4, D)


def test_a_file_is_read_once_and_anew_where_it_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_given_graphs(folder / "m.csv", folder / "s", progress=False)
    torch.save(graphs(1, 9), folder / "b.pt")
    after = build_given_graphs(folder / "m.csv", folder / "s", progress=False)
    assert [old == new for old, new in zip(before.paths, after.paths, strict=True)] == [True, False, True, True]
    after.paths[1].write_bytes(b"damaged")
    assert build_given_graphs(folder / "m.csv", folder / "s", progress=False).done[1] == ("b", 1)
    monkeypatch.setattr("hmgdm_monai.preparation.given_graphs.read_graphs", lambda path: pytest.fail("read again"))
    assert build_given_graphs(folder / "m.csv", folder / "s", progress=False).paths == after.paths


def test_bad_files_are_left_out_and_named(folder: Path) -> None:
    torch.save(graphs(1, 0, channels=5), folder / "b.pt")
    torch.save(
        [Data(x=torch.full((2, D), float("nan")), edge_index=torch.zeros(2, 0).long(), pos=torch.rand(2, 2))],
        folder / "c.pt",
    )
    write(
        folder, "a.pt,,pa", "b.pt,,pb", "c.pt,,pc", ",i.png,pd", "e.pt,,pe", "d.pt,,pf", header="graphs,image,patient"
    )
    (folder / "i.png").write_bytes(b"an image, and no graphs of it")
    cohort = build_given_graphs(folder / "m.csv", folder / "s", progress=False)
    assert cohort.done == [("a", 2), ("d", 2)]
    reasons = dict(cohort.skipped)
    assert reasons["b.pt"] == "x has 5 numbers per vertex, but most have 3; use one encoder"
    assert reasons["c.pt"] == "x holds NaN, infinity, or too large numbers"
    assert "names no graphs" in reasons["i"]
    assert any("e.pt" in why and "not found" in why for why in reasons.values())
    write(folder, "c.pt,pc,x")
    with pytest.raises(InputError, match="none of its graphs could be used"):
        build_given_graphs(folder / "m.csv", folder / "s2", progress=False)


def test_some_graphs_of_a_file_are_drawn(folder: Path) -> None:
    cohort = build_given_graphs(folder / "m.csv", folder / "s", max_graphs=2, progress=False)
    assert [count for _, count in cohort.done] == [2, 2, 2, 2]
    with pytest.raises(InputError, match="max_tiles_per_slide"):
        build_given_graphs(folder / "m.csv", folder / "s", max_graphs=0, progress=False)


@pytest.mark.parametrize("edges", [True, False])
def test_pretraining_reads_them_without_encoding(folder: Path, edges: bool) -> None:
    given = data(folder)
    entities = given_entities(given, edges)
    assert (entities.latent_dim, entities.edge_latents, given.has_tiles) == (D, edges, False)
    given.prepare()
    given.encode(entities)
    train = given.latent_graphs("training", views=True)
    assert len(train) + len(given.latent_graphs("validation")) == 9
    assert ("edge_latents" in train[0]) == edges
    assert given.sample_latents().shape[1] == D
    assert [row.label for row in given.labeled_tiles()[1]] == ["x"] * 9


def test_what_such_graphs_cannot_do_is_told(folder: Path, tiny: Any) -> None:
    with pytest.raises(InputError, match="set degraded_views 0"):
        data(folder, degraded_views=1)
    torch.save(graphs(2, 5), folder / "c.pt")
    with pytest.raises(InputError, match="c: its edges carry no edge_attr.*set edge_latents false"):
        given_entities(data(folder), True)
    mixed = data(folder)
    mixed.encode(given_entities(mixed, False))  # some files with latents of edges, some without
    assert not any("edge_latents" in graph for graph in mixed.latent_graphs())
    with pytest.raises(InputError, match="holds graphs, and their image is not named"):
        build_graph_stores(
            folder / "m.csv", folder / "g", TileRecipe(TileSpec(), graph_transforms(Superpixels())), progress=False
        )


@pytest.mark.parametrize("edges", [True, False])
def test_a_model_of_graphs_embeds_graphs_alone(folder: Path, tiny: Any, edges: bool) -> None:
    run = {"recipe": {**recipe_settings(), "transforms": None}, "noising": NOISING}
    made = tiny.encoder(run=run, entities=GivenEntities(D, edges), edge_latents=edges)
    save_encoder(folder / "model.pt", made)
    encoder = load_encoder(folder / "model.pt")
    assert isinstance(encoder.entities, GivenEntities)
    embeddings, ids = embed_given_graphs(encoder, folder / "m.csv", folder / "s", batch_size=4, progress=False)
    assert embeddings.shape[0] == 9 and np.isfinite(embeddings).all()
    assert ids == ["a", "a", "b", "b", "b", "c", "c", "d", "d"]
    alone, _ = embed_given_graphs(encoder, folder / "m.csv", folder / "s", batch_size=1, progress=False)
    assert np.allclose(alone, embeddings, atol=1e-5)
    for use in (lambda: encoder.to_sample, lambda: recipe_of(run), lambda: encoder(torch.zeros(1, 3, 64, 64))):
        with pytest.raises(InputError, match="takes no tiles|tiles must be"):
            use()
    with pytest.raises(InputError, match="trained on tiles"):
        embed_given_graphs(tiny.encoder(), folder / "m.csv", folder / "s", progress=False)
    torch.save(graphs(2, 0, channels=5), folder / "a.pt")
    write(folder, "a.pt,pa,x")
    with pytest.raises(InputError, match="of 3 numbers, but got 5"):
        embed_given_graphs(encoder, folder / "m.csv", folder / "s", progress=False)


def test_given_entities_are_built_from_their_settings() -> None:
    entities = GivenEntities(7, True)
    again = build_entities(entities.kind, entities.settings)
    assert again.digest() == entities.digest() != GivenEntities(7).digest()
    assert not again.state_dict()
    with pytest.raises(InputError, match="got none"):
        entities(Data(vertex_latents=torch.ones(2, 7)))
