"""DeepGraphConv: graph isomorphism convolutions on the tile graph."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GINConv

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class DeepGraphConv(BagAggregator):
    """Graph convolutions, then gated attention (after Li et al., MICCAI 2018, as Chen et al., 2021, compare against).

    Departs from the paper of 2018: GINConv in place of spectral convolution, as the comparison of 2021 has it, with
    layer normalization, as sums over neighbors grow from layer to layer.

    Args:
        in_channels: D. num_outputs: K. hidden_dim: of each layer. num_layers: of graph convolution.
        attention_dim: of the gate. dropout: after each layer and of the sum.
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
        self.reduce = nn.Sequential(nn.Linear(in_channels, hidden_dim), nn.ReLU(), nn.Dropout(dropout))

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
        """States (N, hidden_dim) that know their neighbors up to ``num_layers`` steps away."""
        states = self.reduce(self.standardizer(bag.x))
        for layer in self.layers:
            states = layer(states, bag.edge_index)
        return states

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)
