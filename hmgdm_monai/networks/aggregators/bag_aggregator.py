"""What all aggregators share: tile states, a weight for each tile, and a linear head on their weighted sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.entities.latent_standardizer import LatentStandardizer
from hmgdm_monai.networks.layers.described import Described


class BagAggregator(Described, ABC):
    """From bags of tiles to outputs (B, K).

    Takes a PyG batch with ``x`` (N, D), ``batch`` (N,) and ``num_graphs`` B, as the loader makes it of
    :class:`hmgdm_monai.tasks.patients.bags.PatientBags`. Bags may be of any sizes; none sees another.

    Args:
        in_channels: D.
        channels: C, of tile states.
        num_outputs: K.
        dropout: of the pooled state.

    Attributes:
        standardizer: of the input channels; fit it on training tiles.
        settings: name and arguments that it was built from, as a model file keeps them.
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
        """States (N, C) of the tiles."""

    @abstractmethod
    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Pooled states (B, C), and the weights (N,) of the tiles, which sum to 1 in each bag."""

    def forward(self, bag: Data) -> Tensor:
        """Outputs (B, K)."""
        return self.head(self.dropout(self.pool(self.states(bag), bag)[0]))

    def attention(self, bag: Data) -> Tensor:
        """Weight (N,) of each tile; sums to 1 in each bag."""
        return self.pool(self.states(bag), bag)[1]

    def tile_outputs(self, bag: Data) -> Tensor:
        """Outputs (N, K) of each tile on its own, whose attention-weighted mean over a bag is the bag's output.

        In evaluation mode, and as the head is linear; for maps of risk.
        """
        return self.head(self.states(bag))
