"""Dual-hypergraph convolution against loops and against PyG's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch_geometric.nn import HypergraphConv

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.layers.dual_hypergraph import DualHypergraphConv


def by_loops(conv: DualHypergraphConv, states: torch.Tensor, graph: EntityGraph, sends: torch.Tensor) -> torch.Tensor:
    rows = []
    for ends in graph.edge_index.T.tolist():
        around = []
        for vertex in ends:
            meeting = [e for e, pair in enumerate(graph.edge_index.T.tolist()) if vertex in pair and sends[e]]
            around.append(sum(states[e] for e in meeting) / len(meeting) if meeting else torch.zeros_like(states[0]))
        rows.append(conv.linear.weight @ ((around[0] + around[1]) / 2) + conv.linear.bias)
    return torch.stack(rows)


def test_equals_loops(random_graph: Callable[..., EntityGraph]) -> None:
    graph, conv = random_graph(8, 13, dtype=torch.float64), DualHypergraphConv(5).double()
    for sends in (torch.ones(13, dtype=torch.bool), torch.rand(13) < 0.4, torch.zeros(13, dtype=torch.bool)):
        ours = conv(graph.edge_latents, graph.edge_index, 8, sends)
        torch.testing.assert_close(ours, by_loops(conv, graph.edge_latents, graph, sends), rtol=0, atol=1e-12)


def test_equals_pyg_where_all_send(random_graph: Callable[..., EntityGraph]) -> None:
    graph, conv = random_graph(8, 13, dtype=torch.float64), DualHypergraphConv(5).double()
    theirs = HypergraphConv(5, 5).double()
    theirs.lin.weight, theirs.bias = conv.linear.weight, conv.linear.bias
    incidence = torch.stack((torch.arange(13).repeat(2), graph.edge_index.reshape(-1)))  # hypernode, hyperedge
    torch.testing.assert_close(
        conv(graph.edge_latents, graph.edge_index, 8, torch.ones(13, dtype=torch.bool)),
        theirs(graph.edge_latents, incidence),
        rtol=0,
        atol=1e-12,
    )


def test_silent_edges_are_not_heard(random_graph: Callable[..., EntityGraph]) -> None:
    graph, conv, sends = random_graph(8, 13), DualHypergraphConv(5), torch.arange(13) % 3 == 0
    before = conv(graph.edge_latents, graph.edge_index, 8, sends)
    graph.edge_latents[~sends] = 1e6
    assert torch.equal(conv(graph.edge_latents, graph.edge_index, 8, sends), before)
