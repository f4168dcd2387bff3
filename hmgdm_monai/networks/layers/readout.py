"""Readout: combine the states of a graph's entities to one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

STATISTICS = ("mean", "std", "max", "edge_mean", "latent_mean", "latent_std")
DEFAULT_STATISTICS = ("mean", "std", "latent_mean", "latent_std")


class StatisticsReadout(nn.Module):
    """Pool entity states of each graph by statistics over its vertices and edges.

    Args:
        statistics: any of "mean", "std" (population) and "max" over vertices, "edge_mean", and "latent_mean" and
            "latent_std" over the latents of vertices (the encoder's input). They are concatenated in this order.

    Raises:
        ValueError: a statistic is unknown, or there is none.
    """

    def __init__(self, statistics: Sequence[str] = DEFAULT_STATISTICS) -> None:
        super().__init__()
        if not statistics or not set(statistics) <= set(STATISTICS):
            raise ValueError(f"statistics must be some of {STATISTICS}, got {tuple(statistics)}")
        self.statistics = tuple(statistics)

    def forward(
        self,
        states: Tensor,
        batch: Tensor,
        num_graphs: int,
        edge_states: Tensor | None = None,
        edge_batch: Tensor | None = None,
        latents: Tensor | None = None,
    ) -> Tensor:
        """Pool states (V, D) by batch (V,), edge_states (E, D) by edge_batch (E,), latents (V, Z) by batch.

        A graph without entities of a kind gives zeros.

        Args:
            states: (V, D) vertex states.
            batch: (V,) index of the graph of each vertex.
            num_graphs: number of graphs B.
            edge_states: (E, D) edge states; None if edges have no states.
            edge_batch: (E,) index of the graph of each edge; None if edges have no states.
            latents: (V, Z) latents of the vertices; None if no statistic needs them.

        Returns:
            (B, S): D numbers for each statistic of states, Z for each statistic of latents.

        Raises:
            ValueError: a statistic needs edges or latents, which are missing.
        """
        mean = scatter(states, batch, dim_size=num_graphs, reduce="mean")
        parts = []
        for name in self.statistics:
            if name == "mean":
                parts.append(mean)
            elif name == "edge_mean":
                if edge_states is None or edge_batch is None:
                    raise ValueError("edge_mean needs edges with states; remove it from the readout")
                parts.append(scatter(edge_states, edge_batch, dim_size=num_graphs, reduce="mean"))
            elif name.startswith("latent_"):
                if latents is None:
                    raise ValueError(f"{name} needs the latents of the vertices; remove it from the readout")
                latent_mean = scatter(latents, batch, dim_size=num_graphs, reduce="mean")
                parts.append(
                    latent_mean if name == "latent_mean" else _deviation(latents, latent_mean, batch, num_graphs)
                )
            elif name == "std":
                parts.append(_deviation(states, mean, batch, num_graphs))
            else:
                parts.append(scatter(states, batch, dim_size=num_graphs, reduce="max"))
        return torch.cat(parts, dim=-1)

    def of_vertices(self, pooled: Tensor, states: Tensor, batch: Tensor, latents: Tensor | None = None) -> Tensor:
        """Embedding of each vertex: that of its graph, with the means replaced by the vertex's own state and latents.

        Their mean over a graph is the graph's embedding. Deviation, maximum and mean over edges describe the graph as a
        whole; all its vertices share them equally.

        Args:
            pooled: (B, S) output of :meth:`forward`.
            states: (V, D) vertex states.
            batch: (V,) index of the graph of each vertex.
            latents: (V, Z) latents of the vertices; None if no statistic needs them.

        Returns:
            (V, S).

        Raises:
            ValueError: a statistic needs latents, which are missing.
        """
        parts, start = [], 0
        for name in self.statistics:
            own = latents if name.startswith("latent_") else states
            if own is None:
                raise ValueError(f"{name} needs the latents of the vertices; remove it from the readout")
            end = start + own.shape[1]
            parts.append(own if name in ("mean", "latent_mean") else pooled[batch, start:end])
            start = end
        return torch.cat(parts, dim=-1)


def _deviation(values: Tensor, mean: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Population standard deviation (B, D) of values (N, D) around the mean (B, D) of their graphs."""
    variance = scatter((values - mean[batch]).square(), batch, dim_size=num_graphs, reduce="mean")
    # The square root has infinite slope at zero: a single entity has no variance and must have no gradient.
    return (variance + 1e-8).sqrt() - 1e-4
