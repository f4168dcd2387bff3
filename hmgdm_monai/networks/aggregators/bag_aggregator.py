"""Base class of aggregators: states of tiles, a weight for each tile, and a linear head on their weighted sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.entities.latent_standardizer import LatentStandardizer
from hmgdm_monai.networks.layers.described import Described


class BagAggregator(Described, ABC):
    """Compute outputs (B, K) from bags of tiles.

    The input is a PyG batch with ``x`` (N, D), ``batch`` (N,) and ``num_graphs`` B, as the loader builds it from
    :class:`hmgdm_monai.tasks.patients.bags.PatientBags`. Bags may have any sizes and do not influence each other.

    Args:
        in_channels: number of input features D.
        channels: size C of the tile states.
        num_outputs: number of outputs K.
        dropout: dropout rate of the pooled state.

    Attributes:
        standardizer: standardizer of the input features; fit it on training tiles.
        settings: name and constructor arguments, as stored in a model file.
    """

    uses_graph = False  # whether batches need ``edge_index``

    def __init__(self, in_channels: int, channels: int, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.standardizer = LatentStandardizer(in_channels)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_outputs)

    @abstractmethod
    def states(self, bag: Data) -> Tensor:
        """Compute the states (N, C) of the tiles."""

    @abstractmethod
    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Compute pooled states (B, C) and the weights (N,) of the tiles, which sum to 1 in each bag."""

    def forward(self, bag: Data) -> Tensor:
        """Compute the outputs (B, K)."""
        return self.head(self.dropout(self.pool(self.states(bag), bag)[0]))

    def attention(self, bag: Data) -> Tensor:
        """Weight (N,) of each tile; the weights sum to 1 in each bag."""
        return self.pool(self.states(bag), bag)[1]

    def tile_outputs(self, bag: Data) -> Tensor:
        """Outputs (N, K) of single tiles; their attention-weighted mean over a bag is the output of the bag.

        This holds in evaluation mode, because the head is linear. Used for risk maps.
        """
        return self.head(self.states(bag))
