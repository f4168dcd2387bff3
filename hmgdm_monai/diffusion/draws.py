"""Random draws for the entities of a batch that may be distributed over several processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.ranks import gather, num_ranks, rank


class BatchDraws:
    """Random draws for the vertices, edges and graphs of a batch.

    If W ranks share one batch, each draws what a single process would draw for the whole batch, and keeps the rows of
    its own graphs. So the draws do not depend on the number of ranks. For this, the ranks exchange the numbers of
    vertices and edges of their graphs.

    Args:
        graph: the graphs of this rank, b of B = W b. Its j-th graph is number j W + rank of the shared batch, which is
            how ``torch.utils.data.DistributedSampler`` distributes them.
        generator: random generator on the CPU, in the same state on all ranks.
        shared: whether the ranks hold parts of one batch (training), or each the whole batch (validation).

    Attributes:
        generator: the given generator.
        num_graphs: number of graphs B of the whole batch.
        vertex_batch: (V,) int64, graph index of each vertex of the whole batch.
        edge_batch: (E,) int64, graph index of each edge of the whole batch.
    """

    def __init__(self, graph: EntityGraph, generator: torch.Generator | None = None, shared: bool = False) -> None:
        self.generator = generator
        self.num_graphs = graph.num_graphs if isinstance(graph, Batch) else 1
        self.vertex_batch, self.edge_batch = graph.vertex_batch, graph.edge_batch
        self._vertices: Tensor | None = None
        self._edges: Tensor | None = None
        self._graphs: Tensor | None = None
        if not shared or num_ranks() == 1:
            return
        mine = torch.stack(
            [torch.bincount(batch, minlength=self.num_graphs) for batch in (self.vertex_batch, self.edge_batch)]
        )
        counts = torch.stack(gather(mine), dim=2).flatten(1)  # (2, b, W) -> (2, B)
        self.num_graphs *= num_ranks()
        graphs = torch.arange(self.num_graphs, device=counts.device)
        own = graphs % num_ranks() == rank()
        self.vertex_batch, self.edge_batch = (graphs.repeat_interleave(count) for count in counts)
        self._graphs = own.nonzero().flatten()
        self._vertices = own[self.vertex_batch].nonzero().flatten()
        self._edges = own[self.edge_batch].nonzero().flatten()

    def of_graphs(self, draw: Callable[[int], Tensor]) -> Tensor:
        """Call ``draw`` with the number of graphs B, and return the rows of this rank."""
        return _rows(draw(self.num_graphs), self._graphs)

    def of_vertices(self, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Call ``draw`` with the graph index (V,) of each vertex, and return the rows of this rank."""
        return _rows(draw(self.vertex_batch), self._vertices)

    def of_edges(self, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Call ``draw`` with the graph index (E,) of each edge, and return the rows of this rank."""
        return _rows(draw(self.edge_batch), self._edges)

    def choose(self, count: int, edges: bool = True) -> tuple[Tensor, Tensor]:
        """Draw ``count`` entities of the whole batch without replacement, at most all of them.

        Args:
            count: number of entities.
            edges: whether to draw from vertices and edges; False draws only from vertices.

        Returns:
            (M,) int64, indices of this rank's drawn entities (vertices first), in the order of the draw; and (count,)
            bool, which of all drawn entities these are.
        """
        vertices = len(self.vertex_batch)
        total = len(self) if edges else vertices
        chosen = torch.randperm(total, generator=self.generator)[:count].to(self.vertex_batch.device)
        if self._vertices is None or self._edges is None:
            return chosen, torch.ones_like(chosen, dtype=torch.bool)
        own = torch.cat((self._vertices, vertices + self._edges)) if edges else self._vertices
        place = own.new_full((total,), -1)
        place[own] = torch.arange(len(own), device=own.device)
        mine = place[chosen] >= 0
        return place[chosen][mine], mine

    def __len__(self) -> int:
        """V + E of the whole batch."""
        return len(self.vertex_batch) + len(self.edge_batch)


def _rows(drawn: Tensor, rows: Tensor | None) -> Tensor:
    return drawn if rows is None else drawn[rows.to(drawn.device)]
