"""DeepGraphConv: graph isomorphism convolutions on the tile graph."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GINConv

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator, reduced_features
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class DeepGraphConv(BagAggregator):
    """Graph convolutions, then gated attention (after Li et al., MICCAI 2018, as a baseline in Chen et al., 2021).

    Differences from the 2018 paper: GINConv instead of spectral convolution, as in the 2021 comparison, with layer
    normalization, because sums over neighbors grow from layer to layer.

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the states in each layer.
        num_layers: number of graph convolution layers.
        attention_dim: hidden size of the attention gate.
        dropout: dropout rate after each layer and of the weighted sum.
    """

    uses_graph = True

    def __init__(
        self,
        in_channels: int,
        num_outputs: int = 1,
        hidden_dim: int = 64,
        num_layers: int = 3,
        attention_dim: int = 32,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(in_channels, hidden_dim, num_outputs, dropout)
        self.reduce = reduced_features(in_channels, hidden_dim, dropout)

        def layer() -> GINConv:
            return GINConv(
                nn.Sequential(
                    nn.Linear(hidden_dim, hidden_dim),
                    nn.ReLU(),
                    nn.Linear(hidden_dim, hidden_dim),
                    nn.LayerNorm(hidden_dim),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                )
            )

        self.layers = nn.ModuleList(layer() for _ in range(num_layers))
        self.pooling = GatedAttentionPooling(hidden_dim, attention_dim)

    def states(self, bag: Data) -> Tensor:
        """States (N, hidden_dim) with information from neighbors up to ``num_layers`` steps away."""
        states = self.reduce(self.standardizer(bag.x))
        for layer in self.layers:
            states = layer(states, bag.edge_index)
        return states

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)
