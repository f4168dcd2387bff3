"""Attention-based multiple instance learning."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import Data

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator, reduced_features
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class AMIL(BagAggregator):
    """Gated attention over tiles (Ilse et al., ICML 2018): reduce features, weight each tile, sum, predict.

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the tile states.
        attention_dim: hidden size of the attention gate.
        dropout: dropout rate of the tile states and of their weighted sum.
    """

    def __init__(
        self,
        in_channels: int,
        num_outputs: int = 1,
        hidden_dim: int = 64,
        attention_dim: int = 32,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(in_channels, hidden_dim, num_outputs, dropout)
        self.reduce = reduced_features(in_channels, hidden_dim, dropout)
        self.pooling = GatedAttentionPooling(hidden_dim, attention_dim)

    def states(self, bag: Data) -> Tensor:
        """Reduced features (N, hidden_dim)."""
        return self.reduce(self.standardizer(bag.x))

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)
