"""The denoiser: order, batching, padding, what it reads and what it must not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder, GraphEncoding
from hmgdm_monai.networks.methods.graph_denoiser import GraphDenoiser


def build(**options: object) -> GraphDenoiser:
    return GraphDenoiser(5, 8, 2, heads=2, **options).eval()


def encode(graph: EntityGraph, visible: tuple[Tensor, Tensor], **options: object) -> GraphEncoding:
    torch.manual_seed(1)  # the same encoder at every call
    encoder = GraphEncoder(5, 8, 2, **options).eval()
    return encoder(graph.vertex_latents, graph.edge_latents, graph.edge_index, graph.pos, *visible)


def denoise(
    denoiser: GraphDenoiser,
    graph: EntityGraph,
    noisy: tuple[Tensor, Tensor | None],
    visible: tuple[Tensor, Tensor],
    timesteps: Tensor,
    encoding: GraphEncoding | None = None,
) -> tuple[Tensor, Tensor | None]:
    encoding = encode(graph, visible) if encoding is None else encoding
    return denoiser(*noisy, encoding, graph.edge_index, graph.pos, graph.vertex_batch, *visible, timesteps)


def noise_like(graph: EntityGraph) -> tuple[Tensor, Tensor]:
    return torch.randn_like(graph.vertex_latents), torch.randn_like(graph.edge_latents)


def test_order_does_not_matter(
    graph_list: list[EntityGraph],
    reorder: Callable[..., tuple[EntityGraph, Tensor, Tensor]],
    alternate: Callable[[int], Tensor],
) -> None:
    """In a batch whose entities stand in any order: the vertices of a graph need not stand together."""
    graph, denoiser = Batch.from_data_list(graph_list), build()
    other, *orders = reorder(graph)
    visible = alternate(graph.num_vertices), alternate(graph.edge_index.shape[1])
    noisy, timesteps = noise_like(graph), torch.arange(6) * 150
    one = denoise(denoiser, graph, noisy, visible, timesteps)
    rows = [tuple(part[order] for part, order in zip(pair, orders, strict=True)) for pair in (noisy, visible)]
    two = denoise(denoiser, other, *rows, timesteps)
    for before, after, order in zip(one, two, orders, strict=True):
        torch.testing.assert_close(after, before[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["token", "adjacency", "induced"])
def test_alone_equals_in_a_batch(graph_list: list[EntityGraph], alternate: Callable[[int], Tensor], mode: str) -> None:
    """In the batch all but the largest graph are padded; alone none is."""
    denoiser, batch = build(), Batch.from_data_list(graph_list)
    visible = [(alternate(g.num_vertices), alternate(g.edge_index.shape[1])) for g in graph_list]
    noisy, timesteps = [noise_like(g) for g in graph_list], torch.arange(6) * 150
    joint = [tuple(torch.cat(parts) for parts in zip(*pairs, strict=True)) for pairs in (noisy, visible)]
    encoding = encode(batch, joint[1], hidden_entities=mode)
    vertices, edges = denoise(denoiser, batch, *joint, timesteps, encoding)
    for k, graph in enumerate(graph_list):
        encoding = encode(graph, visible[k], hidden_entities=mode)
        alone = denoise(denoiser, graph, noisy[k], visible[k], timesteps[k : k + 1], encoding)
        torch.testing.assert_close(vertices[batch.vertex_batch == k], alone[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(edges[batch.edge_batch == k], alone[1], rtol=0, atol=1e-5)


def test_noisy_rows_of_visible_entities_are_ignored(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]
) -> None:
    graph, denoiser, visible = random_graph(11, 20), build(), (alternate(11), alternate(20))
    noisy, time = noise_like(graph), torch.tensor([400])
    before = denoise(denoiser, graph, noisy, visible, time)
    for part, seen in zip(noisy, visible, strict=True):
        part[seen] = torch.nan
    after = denoise(denoiser, graph, noisy, visible, time)
    assert torch.equal(after[0], before[0]) and torch.equal(after[1], before[1])


def test_reads_noisy_hidden_and_visible_and_time(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]
) -> None:
    graph, denoiser, visible = random_graph(11, 20), build(), (alternate(11), alternate(20))
    noisy, time = noise_like(graph), torch.tensor([400])
    base = denoise(denoiser, graph, noisy, visible, time)
    others = [
        denoise(denoiser, graph, (noisy[0] + 1, noisy[1]), visible, time),
        denoise(denoiser, graph, (noisy[0], noisy[1] + 1), visible, time),
        denoise(denoiser, graph, noisy, visible, time + 300),
    ]
    graph.vertex_latents = graph.vertex_latents + 1
    others.append(denoise(denoiser, graph, noisy, visible, time))
    for other in others:
        for before, after, seen in zip(base, other, visible, strict=True):
            assert not torch.isclose(after[~seen], before[~seen]).all(1).any()


@pytest.mark.parametrize("skip_connections", [True, False])
def test_skip_connections_switch(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor], skip_connections: bool
) -> None:
    """Without them, what stands in lower layers' states does not matter; with them it does."""
    graph, denoiser, visible = (
        random_graph(11, 20),
        build(skip_connections=skip_connections),
        (alternate(11), alternate(20)),
    )
    noisy, time, encoding = noise_like(graph), torch.tensor([400]), encode(graph, visible)
    before = denoise(denoiser, graph, noisy, visible, time, encoding)
    changed = [[torch.randn_like(s), last] for s, last in (encoding.vertex_states, encoding.edge_states)]
    after = denoise(denoiser, graph, noisy, visible, time, GraphEncoding(*changed, encoding.kl))
    assert torch.equal(after[0], before[0]) != skip_connections
    assert torch.equal(after[1], before[1]) != skip_connections


def test_edge_latents_switch(random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]) -> None:
    graph, visible, time = random_graph(11, 20), (alternate(11), alternate(20)), torch.tensor([400])
    bare = encode(graph, visible, edge_latents=False)
    noisy = noise_like(graph)
    vertices, edges = denoise(build(edge_latents=False), graph, (noisy[0], None), visible, time, bare)
    assert vertices.shape == (11, 5) and edges is None
    for missing in ((noisy[0], None), encode(graph, visible)), (noisy, bare):
        with pytest.raises(ValueError, match="edge_latents=False"):
            denoise(build(), graph, missing[0], visible, time, missing[1])
