"""Who hears whom while entities are hidden."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.layers.graph_layer import GraphLayer, MessageFlow, message_flow


def test_flows_of_a_path() -> None:
    """Path 0-1-2-3 with vertex 3 hidden and edge 0-1 hidden."""
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    vertex_visible, edge_visible = torch.tensor([True, True, True, False]), torch.tensor([False, True, True])

    def flow(mode: str) -> list[list[bool]]:
        return [part.tolist() for part in message_flow(vertex_visible, edge_visible, edge_index, mode)]

    assert flow("token") == [[True] * 4, [True] * 3, [True] * 3]
    assert flow("adjacency") == [[True, True, True, False], [True] * 3, [False, True, True]]
    assert flow("induced") == [[True, True, True, False], [False, True, False], [False, True, False]]


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="'tokens'"):
        message_flow(
            torch.ones(1, dtype=torch.bool), torch.ones(0, dtype=torch.bool), torch.zeros(2, 0).long(), "tokens"
        )


def test_induced_is_the_subgraph_cut_out(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]
) -> None:
    """What the flow keeps equals the layers on a graph in which nothing else exists."""
    graph, layers = random_graph(14, 30), [GraphLayer(5), GraphLayer(5)]
    vertex_visible, edge_visible = ~alternate(14), ~alternate(30)
    inside = edge_visible & vertex_visible[graph.edge_index].all(0)
    new_name = vertex_visible.cumsum(0) - 1

    flow = message_flow(vertex_visible, edge_visible, graph.edge_index, "induced")
    v, e = graph.vertex_latents, graph.edge_latents
    cut_v, cut_e, cut_index = v[vertex_visible], e[inside], new_name[graph.edge_index[:, inside]]
    everyone = MessageFlow.unhindered(vertex_visible[vertex_visible], inside[inside])
    for layer in layers:
        v, e = layer(v, e, graph.edge_index, flow)
        cut_v, cut_e = layer(cut_v, cut_e, cut_index, everyone)
    assert inside.any() and not inside.all()
    torch.testing.assert_close(v[vertex_visible], cut_v)
    torch.testing.assert_close(e[inside], cut_e)


@pytest.mark.parametrize("mode", ["adjacency", "induced"])
def test_hidden_entities_are_not_heard(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor], mode: str
) -> None:
    """Whatever state a hidden entity has, it is its own affair."""
    graph, layer = random_graph(11, 20), GraphLayer(5)
    vertex_visible, edge_visible = alternate(11), alternate(20)
    flow = message_flow(vertex_visible, edge_visible, graph.edge_index, mode)
    v, e = graph.vertex_latents, graph.edge_latents
    before = layer(v, e, graph.edge_index, flow)

    other_vertices = torch.where(vertex_visible.unsqueeze(1), v, torch.randn_like(v))
    after = layer(other_vertices, e, graph.edge_index, flow)
    assert torch.equal(after[0][vertex_visible], before[0][vertex_visible]) and torch.equal(after[1], before[1])
    other_edges = torch.where(edge_visible.unsqueeze(1), e, torch.randn_like(e))
    after = layer(v, other_edges, graph.edge_index, flow)
    assert torch.equal(after[0], before[0]) and torch.equal(after[1][edge_visible], before[1][edge_visible])


def test_edges_hear_their_ends(random_graph: Callable[..., EntityGraph]) -> None:
    """Vertices and edges learn from each other within one layer."""
    graph, layer = random_graph(6, 9), GraphLayer(5)
    v, e = graph.vertex_latents.requires_grad_(), graph.edge_latents.requires_grad_()
    flow = MessageFlow.unhindered(torch.ones(6, dtype=torch.bool), torch.ones(9, dtype=torch.bool))
    new_v, new_e = layer(v, e, graph.edge_index, flow)
    assert torch.autograd.grad(new_e[0].square().sum(), v, retain_graph=True)[0].abs().sum(1).nonzero().numel() == 2
    assert torch.autograd.grad(new_v.square().sum(), e)[0].abs().sum() > 0
