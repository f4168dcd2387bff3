"""Transformer over the tiles of a bag, at a cost that is linear in the number of tiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.aggr.utils import InducedSetAttentionBlock

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator, check_heads, reduced_features
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class TransformerMIL(BagAggregator):
    """Self-attention between the tiles of a bag, then gated attention (Myronenko et al., MICCAI 2021).

    Self-attention is the induced attention of the Set Transformer (ISAB; Lee et al., ICML 2019): a fixed number of
    learned queries attends to the tiles, and the tiles attend to the result. Its cost is linear in the number of tiles,
    like that of the Nystrom attention in TransMIL (Shao et al., NeurIPS 2021).

    Differences from TransMIL: the order of the tiles has no meaning. TransMIL averages its landmarks over consecutive
    tiles and takes positions from the order of the list, so its output depends on that order. Here tiles have no
    positions; use :class:`~hmgdm_monai.networks.aggregators.spatial_gat.SpatialGAT` for neighborhoods.

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the tile states.
        num_layers: number of attention blocks.
        num_heads: number of attention heads; divides ``hidden_dim``.
        num_induced: number of learned queries of each block.
        attention_dim: hidden size of the attention gate.
        dropout: dropout rate of the tile states and of their weighted sum.

    Raises:
        InputError: ``num_heads`` does not divide ``hidden_dim``.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int = 1,
        hidden_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        num_induced: int = 32,
        attention_dim: int = 32,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(in_channels, hidden_dim, num_outputs, dropout)
        check_heads(num_heads, hidden_dim)
        self.reduce = reduced_features(in_channels, hidden_dim, dropout)
        self.layers = nn.ModuleList(
            InducedSetAttentionBlock(hidden_dim, num_induced, num_heads) for _ in range(num_layers)
        )
        self.pooling = GatedAttentionPooling(hidden_dim, attention_dim)

    def states(self, bag: Data) -> Tensor:
        """States (N, hidden_dim) with information from all tiles of the bag."""
        states = self.reduce(self.standardizer(bag.x))
        order = torch.argsort(bag.batch, stable=True)
        sizes = torch.bincount(bag.batch, minlength=bag.num_graphs).tolist()
        # Bag by bag: no padding, and no bag can attend to another.
        attended = torch.cat([self._attend(tiles) for tiles in states[order].split(sizes)])
        return torch.empty_like(attended).index_copy(0, order, attended)

    def _attend(self, tiles: Tensor) -> Tensor:
        """Apply the attention blocks to the tiles (M, hidden_dim) of one bag."""
        tiles = tiles.unsqueeze(0)
        for layer in self.layers:
            tiles = layer(tiles)
        return tiles.squeeze(0)

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)
