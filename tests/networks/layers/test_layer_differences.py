"""Layers that pass differences between neighbors: off they leave weights as they were, on they keep every symmetry."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.networks.layers.edge_gated_conv import EdgeGatedConv
from hmgdm_monai.networks.layers.graph_layer import GraphLayer
from hmgdm_monai.networks.methods.build import build_graph_embedder, build_hmgdm

EDGES = torch.tensor([[0, 0, 1, 2], [1, 2, 2, 3]])
SMALL = {"latent_dim": 5, "hidden_dim": 8, "num_layers": 2}


@pytest.fixture
def states() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(5, 8, generator=draw), torch.randn(4, 8, generator=draw)


def conv(edge_states: bool = True, differences: bool = True) -> EdgeGatedConv:
    torch.manual_seed(0)
    return EdgeGatedConv(8, edge_states, differences)


@pytest.mark.parametrize("build", [build_hmgdm, build_graph_embedder])
def test_off_there_are_no_new_weights(build) -> None:
    plain, on = build(**SMALL), build(**SMALL, layer_differences=True)
    assert build(**SMALL, layer_differences=False).state_dict().keys() == plain.state_dict().keys()
    new = on.state_dict().keys() - plain.state_dict().keys()
    assert new and all(name.endswith("vertex_conv.difference.weight") for name in new)
    assert len(new) == (4 if build is build_hmgdm else 2)  # encoder and denoiser, or encoder alone


def test_a_message_is_what_the_formula_says(states: tuple[Tensor, Tensor]) -> None:
    vertices, edges = states
    layer, plain = conv(), conv(differences=False)
    plain.load_state_dict(layer.state_dict(), strict=False)
    for vertex in range(5):
        near = [(int(a + b) - vertex, e) for e, (a, b) in enumerate(EDGES.T.tolist()) if vertex in (a, b)]
        expected = torch.zeros(8)
        if near:
            ends = [
                torch.cat((edges[e], vertices[j] + vertices[vertex], (vertices[j] - vertices[vertex]).abs()))
                for j, e in near
            ]
            gates = torch.stack([layer.gate(end).sigmoid() for end in ends])
            terms = torch.stack([F.silu(layer.difference(vertices[j] - vertices[vertex])) for j, _ in near])
            expected = (gates * terms).sum(0) / gates.sum(0)
        change = layer(vertices, edges, EDGES)[vertex] - plain(vertices, edges, EDGES)[vertex]
        assert torch.allclose(change, expected, atol=1e-5)


def test_like_neighbors_send_no_difference(states: tuple[Tensor, Tensor]) -> None:
    alike = states[0][:1].repeat(5, 1)
    layer, plain = conv(False), conv(False, differences=False)
    plain.load_state_dict(layer.state_dict(), strict=False)
    assert torch.allclose(layer(alike, None, EDGES), plain(alike, None, EDGES))
    assert not torch.allclose(layer(states[0], None, EDGES), plain(states[0], None, EDGES))


def test_neither_order_nor_direction_matters(states: tuple[Tensor, Tensor]) -> None:
    vertices, edges = states
    torch.manual_seed(0)
    layer = GraphLayer(8, differences=True)
    expected, expected_edges = layer(vertices, edges, EDGES)
    order, flips = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([True, False, True, False])
    place = order.argsort()
    turned = torch.where(flips, place[EDGES].flip(0), place[EDGES])
    found, found_edges = layer(vertices[order], edges, turned)
    assert torch.allclose(found, expected[order], atol=1e-6)
    assert torch.allclose(found_edges, expected_edges, atol=1e-6)


def test_who_sends_nothing_is_not_heard(states: tuple[Tensor, Tensor]) -> None:
    vertices, edges = states
    sends, passes = torch.tensor([True, True, False, True, True]), torch.tensor([True, True, True, False])
    layer = conv()
    found = layer(vertices, edges, EDGES, sends, passes, passes)
    other = vertices.clone()
    other[2] += 7.0
    assert torch.equal(layer(other, edges, EDGES, sends, passes, passes)[[0, 1, 3, 4]], found[[0, 1, 3, 4]])


def test_they_train() -> None:
    network = build_graph_embedder(**SMALL, edge_latents=False, layer_differences=True)
    draw = torch.Generator().manual_seed(0)
    encoding = network.encoder(torch.randn(5, 5, generator=draw), None, EDGES, torch.rand(5, 2, generator=draw))
    encoding.vertex_states[-1].square().sum().backward()
    for layer in network.encoder.layers:
        assert layer.vertex_conv.difference.weight.grad.abs().sum() > 0
