"""Base class of aggregators: states of tiles, a weight for each tile, and a linear head on their weighted sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.entities.latent_standardizer import LatentStandardizer
from hmgdm_monai.errors import InputError
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
        """Compute pooled states and the weights of the tiles, which sum to 1 in each bag.

        Args:
            states: (N, C) states of the tiles.
            bag: batch of bags.

        Returns:
            Pooled states (B, C) and weights (N,). If each output has weights of its own: (B, K, C) and (N, K).
        """

    def forward(self, bag: Data) -> Tensor:
        """Compute the outputs (B, K)."""
        pooled = self.dropout(self.pool(self.states(bag), bag)[0])
        if pooled.dim() == 3:  # one pooled state for each output
            return torch.einsum("bkc,kc->bk", pooled, self.head.weight) + self.head.bias
        return self.head(pooled)

    def attention(self, bag: Data) -> Tensor:
        """Weight (N,) of each tile, the mean over outputs; the weights sum to 1 in each bag."""
        return self.output_attention(bag).mean(1)

    def output_attention(self, bag: Data) -> Tensor:
        """Weight (N, K) of each tile for each output; for each output the weights sum to 1 in each bag.

        All outputs have the same weights, except in aggregators with one attention branch for each output.
        """
        weights = self.pool(self.states(bag), bag)[1]
        return weights if weights.dim() == 2 else weights.unsqueeze(1).expand(-1, self.head.out_features)

    def tile_outputs(self, bag: Data) -> Tensor:
        """Outputs (N, K) of single tiles, used for maps: the head applied to the state of each tile.

        Their mean over a bag, weighted by :meth:`output_attention`, is the output of the bag. This holds in evaluation
        mode, because the head is linear.

        The state of a tile contains only the tile itself, except in aggregators whose tiles exchange information: along
        the edges of the tile graph, or over the whole bag. There the output of a tile is that of the tile in its
        surroundings.
        """
        return self.head(self.states(bag))


def reduced_features(in_channels: int, hidden_dim: int, dropout: float) -> nn.Sequential:
    """Return the layer that reduces the features (N, D) of tiles to states (N, hidden_dim).

    Args:
        in_channels: number of input features D.
        hidden_dim: size of the tile states.
        dropout: dropout rate of the states.
    """
    return nn.Sequential(nn.Linear(in_channels, hidden_dim), nn.ReLU(), nn.Dropout(dropout))


def check_heads(num_heads: int, channels: int) -> None:
    """Check the number of attention heads.

    Raises:
        InputError: it does not divide the number of channels.
    """
    if num_heads < 1 or channels % num_heads:
        raise InputError(f"num_heads must divide hidden_dim, got {num_heads} and {channels}")
