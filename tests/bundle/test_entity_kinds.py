"""train.json with squares, cells and graphs of others as entities, from a manifest to a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from hmgdm_monai.errors import input_error_in


@pytest.fixture
def graph_manifest(tmp_path: Path) -> Path:
    """Manifest of five files of four graphs each, a patient each, without any image."""
    draw = torch.Generator().manual_seed(0)
    rows = []
    for number in range(5):
        graphs = []
        for count in (1, 6, 9, 12):
            ends = torch.randint(count, (2, 3 * count), generator=draw)
            features = torch.randn(count, 7, generator=draw)
            graphs.append(Data(x=features, edge_index=ends, pos=300 * torch.rand(count, 2, generator=draw)))
        torch.save(graphs, tmp_path / f"{number}.pt")
        rows.append(f"{number}.pt,p{number},{'ab'[number % 2]}")
    (tmp_path / "graphs.csv").write_text("\n".join(["graphs,patient,label", *rows]) + "\n")
    return tmp_path / "graphs.csv"


@pytest.mark.parametrize("kind", ["squares", "cells"])
def test_entities_by_choice(workflow: Callable[..., Any], outcome: Any, tmp_path: Path, kind: str) -> None:
    from hmgdm_monai.data.stores.graph_store import GraphStore
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.saving.encoder_file import load_encoder

    settings = {"entity_kind": kind, "backbone_entities::shape_channels": kind == "cells", "cutter::max_edge_um": 20.0}
    settings |= {"max_epochs": 1, "max_tiles_per_slide": 2, "degraded_views": 0}
    workflow(tmp_path, **settings).run()
    run = outcome(tmp_path)
    assert run.metrics["hmgdm"]["epochs"] == 1
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"curves", "entity_graph", "denoising"}
    model = load_encoder(tmp_path / "model.pt")
    (cut, _) = model.run_settings["recipe"]["transforms"]["transforms"]
    assert (cut["cutter"]["entity_kind"], cut["cutter"]["max_edge_um"]) == (kind, 20.0)
    assert model.entities.latent_dim == (32 if kind == "cells" else 24)
    store = GraphStore(sorted((tmp_path / "stores/graphs").glob("*.h5")))
    made = recipe_of(model.run_settings).settings()
    assert store.units[0].settings["transforms"] == made["transforms"]
    first = store[0]
    again = model.to_sample(first.image[0].numpy())  # inference makes the graphs of the training
    for name in ("pos", "edge_index", "label_map", "mpp"):
        assert torch.equal(again[name], first[name]), name
    assert (first.label_map < 0).any() == (kind == "cells")


def test_graphs_of_others_without_any_image(
    workflow: Callable[..., Any], outcome: Any, graph_manifest: Path, tmp_path: Path
) -> None:
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.tasks.inference.embed_graphs import embed_given_graphs

    settings = {"manifest": str(graph_manifest), "entity_kind": "graphs", "edge_latents": False, "degraded_views": 0}
    workflow(tmp_path / "run", **settings).run()
    run = outcome(tmp_path / "run")
    assert run.metrics["cohort"]["tiles"] == {"training": 16, "validation": 4}
    assert "probe_balanced_accuracy" in run.metrics["hmgdm"]["history"][-1]
    assert {path.stem for path in (tmp_path / "run/figures").iterdir()} == {"curves"}
    assert not (tmp_path / "run/superpixels.pt").exists()
    assert not any(name.startswith("entities.") for name in run.weights)
    model = load_encoder(tmp_path / "run/model.pt")
    assert model.hmgdm.encoder.latent_dim == 7
    embeddings, ids = embed_given_graphs(model, graph_manifest, tmp_path / "stores", progress=False)
    assert embeddings.shape == (20, 2 * 16 + 2 * 7) and len(set(ids)) == 5


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"entity_kind": "graphs"}, "set degraded_views 0"),
        ({"entity_kind": "graphs", "degraded_views": 0}, "set edge_latents false"),
        ({"entity_kind": "glands"}, "entity_kind: must be superpixels, squares, cells or graphs, not glands"),
        (
            {"entity_kind": "cells", "cutter::cell_edges": "voronoi"},
            "cutter#cell_edges: must be delaunay or knn, not voronoi",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(
    workflow: Callable[..., Any], graph_manifest: Path, tmp_path: Path, settings: dict, match: str
) -> None:
    with pytest.raises(Exception) as told:
        workflow(tmp_path / "run", manifest=str(graph_manifest), **settings).run()
    error = input_error_in(told.value)
    assert error is not None and match in str(error) and "\n" not in str(error)


def test_layer_differences_is_a_switch_of_the_network(workflow: Callable[..., Any], tmp_path: Path) -> None:
    from hmgdm_monai.saving.tile_encoders import build_tile_encoder

    get = workflow(tmp_path, **{"network_def::layer_differences": True}).parser.get_parsed_content
    network, entities = get("network_def"), get("entities")
    new = [name for name in network.state_dict() if "difference" in name]
    assert len(new) == 4
    parts = {"entities": {"kind": entities.kind, "settings": entities.settings}, "hmgdm": network.settings}
    again = build_tile_encoder("hmgdm", parts, get("run_folder").settings)  # as a model.pt is read
    again.hmgdm.load_state_dict(network.state_dict())
