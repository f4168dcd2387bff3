"""Masked autoencoder of graphs: no leak, and the order of vertices does not matter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.methods.build import build_graph_embedder, build_graph_mae

TRUNK = {"latent_dim": 5, "hidden_dim": 16, "num_layers": 2}


def test_hidden_latents_reach_neither_encoder_nor_prediction(graph_list: list[EntityGraph]) -> None:
    network = build_graph_mae(**TRUNK, mask_ratio=0.5).eval()
    batch = Batch.from_data_list(graph_list)
    draw = torch.Generator().manual_seed(3)
    prediction, target = network(batch, draw)
    assert prediction.shape == target.shape and len(target) == 4 + 2 + 2 + 1 + 6  # the lone vertex stays visible
    visible = torch.ones(len(batch.pos), dtype=torch.bool)
    from hmgdm_monai.diffusion.split import split_visible

    visible = split_visible(batch.vertex_batch, 0.5, torch.Generator().manual_seed(3))
    other = batch.clone()
    other.vertex_latents = torch.where(visible.unsqueeze(-1), batch.vertex_latents, torch.randn_like(target[:1]))
    states, changed = (network.encode(graph, visible).vertex_states[-1] for graph in (batch, other))
    assert torch.equal(states, changed)
    again = network(other, torch.Generator().manual_seed(3))
    assert torch.equal(again.prediction, prediction) and not torch.equal(again.target, target)
    seen = batch.clone()
    seen.vertex_latents = torch.where(visible.unsqueeze(-1), torch.randn_like(target[:1]), batch.vertex_latents)
    assert not torch.equal(network.restore(seen, visible), network.restore(batch, visible))


def test_graphs_with_views_are_restored_from_one_of_them(graph_list: list[EntityGraph]) -> None:
    network = build_graph_mae(**TRUNK, mask_ratio=0.5).eval()
    plain = Batch.from_data_list(graph_list)
    batch = plain.clone()
    for name in ("vertex", "edge"):
        batch[f"{name}_views"] = torch.full_like(plain[f"{name}_latents"], 9.0).unsqueeze(1)
    found, expected = (network(graph, torch.Generator().manual_seed(3)) for graph in (batch, plain))
    assert torch.equal(found.target, expected.target)
    assert not torch.equal(found.prediction, expected.prediction)


def test_the_decoder_does_not_see_the_encoders_state_of_hidden_vertices(graph_list: list[EntityGraph]) -> None:
    network = build_graph_mae(**TRUNK, mask_ratio=0.5).eval()
    graph = graph_list[3]  # without edges nothing but position is left of a hidden vertex
    visible = torch.tensor([True, False, False, True, True])
    same_place = graph.clone()
    same_place.pos = graph.pos.clone()
    same_place.pos[2] = same_place.pos[1]
    restored = network.restore(same_place, visible)
    assert torch.equal(restored[1], restored[2]) and not torch.equal(restored[0], restored[3])


def test_order_of_vertices_and_edges_does_not_matter(
    random_graph: Callable[..., EntityGraph], reorder: Callable, alternate: Callable
) -> None:
    network = build_graph_mae(**TRUNK, mask_ratio=0.5, decoder_layers=2).double().eval()
    graph = random_graph(9, 16, dtype=torch.float64)
    new, order, _ = reorder(graph)
    visible = alternate(9)
    torch.testing.assert_close(network.restore(new, visible[order]), network.restore(graph, visible)[order])


def test_its_encoder_embeds_as_it_does(graph_list: list[EntityGraph]) -> None:
    network = build_graph_mae(**TRUNK).eval()
    network.standardizer.fit(3 * torch.randn(50, 5) + 1)
    plain = build_graph_embedder(**TRUNK).eval()
    plain.load_state_dict(network.without_pretext().state_dict())
    batch = Batch.from_data_list(graph_list)
    assert torch.equal(plain.embed(batch), network.embed(batch))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="mask_ratio"):
        build_graph_mae(**TRUNK, mask_ratio=1.0)
    with pytest.raises(ValueError, match="decoder_layers"):
        build_graph_mae(**TRUNK, mask_ratio=0.5, decoder_layers=0)
