"""Mean over tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator


class MeanPool(BagAggregator):
    """A linear model on the mean of standardized features: the baseline of the aggregators.

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        dropout: dropout rate of the mean.
    """

    def __init__(self, in_channels: int, num_outputs: int = 1, dropout: float = 0.25) -> None:
        super().__init__(in_channels, in_channels, num_outputs, dropout)

    def states(self, bag: Data) -> Tensor:
        """Standardized features (N, D)."""
        return self.standardizer(bag.x)

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Mean (B, D) and weights (N,), which are equal for all tiles of a bag."""
        size = torch.bincount(bag.batch, minlength=bag.num_graphs)
        weight = 1.0 / size[bag.batch].to(states.dtype)
        return scatter(states, bag.batch, dim_size=bag.num_graphs, reduce="mean"), weight
