"""Random latent graphs, and the same graphs written down in another order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph

LATENT = 5


@pytest.fixture(autouse=True)
def _one_thread_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def random_graph() -> Callable[..., EntityGraph]:
    """Function (V, E, seed) -> latent graph without self-loops; no edges where V is 1."""

    def draw(vertices: int, edges: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> EntityGraph:
        generator = torch.Generator().manual_seed(seed)
        first = torch.randint(vertices, (edges,), generator=generator)
        step = torch.randint(1, max(vertices, 2), (edges,), generator=generator)
        return EntityGraph(
            pos=torch.rand(vertices, 2, generator=generator).to(dtype),
            edge_index=torch.stack((first, (first + step) % vertices)),
            vertex_latents=torch.randn(vertices, LATENT, generator=generator).to(dtype),
            edge_latents=torch.randn(edges, LATENT, generator=generator).to(dtype),
        )

    return draw


@pytest.fixture
def graph_list(random_graph: Callable[..., EntityGraph]) -> list[EntityGraph]:
    """Graphs of several sizes; one has a single vertex, one has vertices but no edges, one a single edge."""
    sizes = ((9, 16), (1, 0), (4, 5), (5, 0), (2, 1), (12, 20))
    return [random_graph(vertices, edges, seed) for seed, (vertices, edges) in enumerate(sizes)]


@pytest.fixture
def reorder() -> Callable[..., tuple[EntityGraph, Tensor, Tensor]]:
    """Function graph -> (the same graph in another order, vertex order, edge order).

    Row k of the new vertices is row ``vertex_order[k]`` of the old, likewise edges; about half the edges swap ends.
    """

    def shuffle(graph: EntityGraph) -> tuple[EntityGraph, Tensor, Tensor]:
        vertex_order = torch.randperm(graph.num_vertices)
        edge_order = torch.randperm(graph.edge_index.shape[1])
        new_name = torch.empty_like(vertex_order)
        new_name[vertex_order] = torch.arange(len(vertex_order))
        edge_index = new_name[graph.edge_index[:, edge_order]]
        swap = torch.rand(len(edge_order)) < 0.5
        edge_index = torch.where(swap, edge_index.flip(0), edge_index)
        new = graph.clone()
        new.pos, new.edge_index = graph.pos[vertex_order], edge_index
        new.vertex_latents, new.edge_latents = graph.vertex_latents[vertex_order], graph.edge_latents[edge_order]
        if "batch" in graph:
            new.batch = graph.batch[vertex_order]
        return new, vertex_order, edge_order

    return shuffle


@pytest.fixture
def alternate() -> Callable[[int], Tensor]:
    """Function N -> (N,) bool, two of five visible, starting with a visible one."""
    return lambda count: torch.arange(count) % 5 % 3 == 0
