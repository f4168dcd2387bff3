"""Edge-gated convolution against loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.layers.edge_gated_conv import EdgeGatedConv

DIM, VERTICES, EDGES = 5, 7, 12


def by_loops(
    conv: EdgeGatedConv, graph: EntityGraph, with_edges: bool, sends: Tensor, passes: Tensor, edge_sends: Tensor
) -> Tensor:
    states, zero = graph.vertex_latents, torch.zeros(DIM, dtype=torch.float64)
    heard = [state if sends[v] else zero for v, state in enumerate(states)]
    rows = []
    for here, state in enumerate(states):
        total, weight = zero, zero
        for e, (i, j) in enumerate(graph.edge_index.T.tolist()):
            if here not in (i, j) or not passes[e]:
                continue
            there = j if here == i else i
            if not sends[there]:
                continue
            own = [graph.edge_latents[e] if edge_sends[e] else zero] if with_edges else []
            gate = conv.gate(torch.cat([*own, heard[i] + heard[j], (heard[i] - heard[j]).abs()])).sigmoid()
            message = conv.near.weight @ heard[there]
            if with_edges:
                message = message + conv.edge.weight @ own[0]
            total, weight = total + gate * message, weight + gate
        rows.append(conv.own(state) + total / weight.clamp(min=1e-6))
    return torch.stack(rows)


@pytest.mark.parametrize("with_edges", [True, False])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_equals_loops(random_graph: Callable[..., EntityGraph], with_edges: bool, share: float) -> None:
    graph, conv = random_graph(VERTICES, EDGES, dtype=torch.float64), EdgeGatedConv(DIM, with_edges).double()
    flow = (torch.rand(VERTICES) < share, torch.rand(EDGES) < share, torch.rand(EDGES) < share)
    ours = conv(graph.vertex_latents, graph.edge_latents if with_edges else None, graph.edge_index, *flow)
    torch.testing.assert_close(ours, by_loops(conv, graph, with_edges, *flow), rtol=0, atol=1e-12)


def test_gates_weight_neighbors(random_graph: Callable[..., EntityGraph]) -> None:
    """Neighbors are averaged: with all gates equal, a vertex whose neighbors agree hears what one of them says."""
    conv = EdgeGatedConv(DIM, edge_states=False)
    star = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    states = torch.randn(2, DIM)[[0, 1, 1, 1, 1]]
    flow = (torch.ones(5, dtype=torch.bool), torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    expected = conv.own(states[0]) + conv.near(states[1])
    torch.testing.assert_close(conv(states, None, star, *flow)[0], expected)


def test_nearly_closed_gates_keep_their_ratios(random_graph: Callable[..., EntityGraph]) -> None:
    """In single precision as in double, also where every sigmoid would be below its resolution."""
    graph, conv = random_graph(6, 9), EdgeGatedConv(DIM, edge_states=False)
    with torch.no_grad():
        conv.gate[2].bias.fill_(-40.0)
        found = conv(graph.vertex_latents, None, graph.edge_index)
        expected = conv.double()(graph.vertex_latents.double(), None, graph.edge_index)
        open_gates = conv.float()
        open_gates.gate[2].bias.fill_(-20.0)
        assert torch.allclose(found.double(), expected, atol=1e-4)
        # exp(x - 40) and exp(x - 20) stand in the same ratios.
        assert torch.allclose(found, open_gates(graph.vertex_latents, None, graph.edge_index), atol=1e-3)
