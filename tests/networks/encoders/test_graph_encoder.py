"""The encoder: order, batching, padding, hidden entities, bottleneck, switches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder, GraphEncoding

MODES = ("token", "adjacency", "induced")


def build(**options: object) -> GraphEncoder:
    return GraphEncoder(5, 8, 2, **options).eval()


def encode(encoder: GraphEncoder, graph: EntityGraph, *visible: Tensor) -> GraphEncoding:
    return encoder(graph.vertex_latents, graph.get("edge_latents"), graph.edge_index, graph.pos, *visible)


def all_states(encoding: GraphEncoding) -> list[Tensor]:
    return [*encoding.vertex_states, *(encoding.edge_states or [])]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("edge_latents", [True, False])
def test_order_does_not_matter(
    random_graph: Callable[..., EntityGraph],
    reorder: Callable[..., tuple[EntityGraph, Tensor, Tensor]],
    alternate: Callable[[int], Tensor],
    mode: str,
    edge_latents: bool,
) -> None:
    graph, encoder = random_graph(11, 20), build(hidden_entities=mode, edge_latents=edge_latents)
    other, vertex_order, edge_order = reorder(graph)
    vertex_visible, edge_visible = alternate(11), alternate(20)
    one = encode(encoder, graph, vertex_visible, edge_visible)
    two = encode(encoder, other, vertex_visible[vertex_order], edge_visible[edge_order])
    for before, after in zip(one.vertex_states, two.vertex_states, strict=True):
        torch.testing.assert_close(after, before[vertex_order], rtol=0, atol=1e-5)
    for before, after in zip(one.edge_states or [], two.edge_states or [], strict=True):
        torch.testing.assert_close(after, before[edge_order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_alone_equals_in_a_batch(graph_list: list[EntityGraph], alternate: Callable[[int], Tensor], mode: str) -> None:
    encoder = build(hidden_entities=mode)
    masks = [(alternate(g.num_vertices), alternate(g.edge_index.shape[1])) for g in graph_list]
    batch = Batch.from_data_list(graph_list)
    together = encode(encoder, batch, *(torch.cat(parts) for parts in zip(*masks, strict=True)))
    for number, (graph, visible) in enumerate(zip(graph_list, masks, strict=True)):
        alone = encode(encoder, graph, *visible)
        for mine, theirs in zip(alone.vertex_states, together.vertex_states, strict=True):
            torch.testing.assert_close(theirs[batch.vertex_batch == number], mine, rtol=0, atol=1e-5)
        for mine, theirs in zip(alone.edge_states, together.edge_states, strict=True):
            torch.testing.assert_close(theirs[batch.edge_batch == number], mine, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_hidden_latents_are_never_read(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor], mode: str
) -> None:
    """Bit-identical, even where hidden latents are not numbers."""
    graph, encoder = random_graph(11, 20), build(hidden_entities=mode, bottleneck=True)
    visible = alternate(11), alternate(20)
    before = encode(encoder, graph, *visible)
    graph.vertex_latents[~visible[0]] = torch.nan
    graph.edge_latents[~visible[1]] = torch.nan
    after = encode(encoder, graph, *visible)
    assert torch.equal(after.kl, before.kl)
    assert all(torch.equal(x, y) for x, y in zip(all_states(after), all_states(before), strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_visible_latents_are_read(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor], mode: str
) -> None:
    graph, encoder = random_graph(11, 20), build(hidden_entities=mode)
    visible = alternate(11), alternate(20)
    graph.vertex_latents.requires_grad_(), graph.edge_latents.requires_grad_()
    encoding = encode(encoder, graph, *visible)
    loss = encoding.vertex_states[-1][visible[0]].square().sum() + encoding.edge_states[-1][visible[1]].square().sum()
    loss.backward()
    assert ((graph.vertex_latents.grad.abs().sum(1) > 0) == visible[0]).all()
    assert ((graph.edge_latents.grad.abs().sum(1) > 0) == visible[1]).all()


def test_modes_differ_where_something_is_hidden_only(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]
) -> None:
    graph, encoder = random_graph(11, 20), build()
    whole, half = [], []
    for mode in MODES:
        encoder.hidden_entities = mode
        whole.append(encode(encoder, graph).vertex_states[-1])
        half.append(encode(encoder, graph, alternate(11), alternate(20)).vertex_states[-1])
    assert torch.equal(whole[0], whole[1]) and torch.equal(whole[0], whole[2])
    assert all(not torch.allclose(half[i], half[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_edge_latents_switch(random_graph: Callable[..., EntityGraph]) -> None:
    graph, encoder = random_graph(11, 20), build(edge_latents=False)
    before = encode(encoder, graph)
    assert before.edge_states is None
    del graph.edge_latents
    assert torch.equal(encode(encoder, graph).vertex_states[-1], before.vertex_states[-1])
    with pytest.raises(ValueError, match="edge_latents=False"):
        encode(build(), graph)


def test_positions_switch(random_graph: Callable[..., EntityGraph]) -> None:
    graph = random_graph(11, 20)
    with_positions, without = build(), build(use_positions=False)
    before = [encode(encoder, graph).vertex_states[-1] for encoder in (with_positions, without)]
    graph.pos = 1 - graph.pos
    after = [encode(encoder, graph).vertex_states[-1] for encoder in (with_positions, without)]
    assert not torch.allclose(after[0], before[0]) and torch.equal(after[1], before[1])


def test_bottleneck_is_quiet_in_evaluation(random_graph: Callable[..., EntityGraph]) -> None:
    graph, encoder = random_graph(11, 20), build(bottleneck=True)
    assert all(torch.equal(x, y) for x, y in zip(*(all_states(encode(encoder, graph)) for _ in "ab"), strict=True))
    encoder.train()
    one, two = encode(encoder, graph), encode(encoder, graph)
    assert torch.equal(one.vertex_states[0], two.vertex_states[0])
    assert not torch.allclose(one.vertex_states[-1], two.vertex_states[-1])
    assert not torch.allclose(one.edge_states[-1], two.edge_states[-1])


def test_kl_is_that_of_the_distributions(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]
) -> None:
    """From the states that enter the bottleneck; mean and variance have heads of their own for vertices and edges."""
    graph, encoder, visible = random_graph(11, 20), build(bottleneck=True), (alternate(11), alternate(20))
    entering = {}
    encoder.vertex_moments.register_forward_hook(lambda _, __, out: entering.update(vertices=out))
    encoder.edge_moments.register_forward_hook(lambda _, __, out: entering.update(edges=out))
    kl = encode(encoder, graph, *visible).kl
    terms = []
    for moments, seen in zip((entering["vertices"], entering["edges"]), visible, strict=True):
        mean, log_variance = moments[seen].chunk(2, dim=-1)
        terms.append(kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean())
    torch.testing.assert_close(kl, (terms[0] + terms[1]) / 2)


def test_no_bottleneck_no_kl(random_graph: Callable[..., EntityGraph]) -> None:
    assert encode(build(), random_graph(4, 5)).kl == 0


@pytest.mark.parametrize("options", [{"num_layers": 0}, {"hidden_entities": "mask"}])
def test_bad_settings(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GraphEncoder(5, 8, **options)
