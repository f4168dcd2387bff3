"""Readout: from the states of a graph's entities to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

STATISTICS = ("mean", "std", "max")


class StatisticsReadout(nn.Module):
    """Pool entity states per graph by statistics over its entities.

    Args:
        statistics: any of "mean", "std" (population) and "max", concatenated in this order.

    Raises:
        ValueError: for an unknown statistic or none.
    """

    def __init__(self, statistics: tuple[str, ...] | list[str] = ("mean", "std")) -> None:
        super().__init__()
        if not statistics or not set(statistics) <= set(STATISTICS):
            raise ValueError(f"statistics must be some of {STATISTICS}, got {tuple(statistics)}")
        self.statistics = tuple(statistics)

    def forward(self, states: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """Pool states (N, D) by batch (N,) -> (B, D * number of statistics). A graph without entities gives zeros."""
        mean = scatter(states, batch, dim_size=num_graphs, reduce="mean")
        parts = []
        for name in self.statistics:
            if name == "mean":
                parts.append(mean)
            elif name == "std":
                variance = scatter((states - mean[batch]).square(), batch, dim_size=num_graphs, reduce="mean")
                # The root's slope at zero is infinite: a lone entity has no variance, and must have no gradient.
                parts.append((variance + 1e-8).sqrt() - 1e-4)
            else:
                parts.append(scatter(states, batch, dim_size=num_graphs, reduce="max"))
        return torch.cat(parts, dim=-1)
