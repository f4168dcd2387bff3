"""CLAM: one attention branch and one linear head for each output."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter, softmax

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator, reduced_features


class CLAM(BagAggregator):
    """Multi-branch attention of CLAM (Lu et al., Nature Biomedical Engineering 2021, CLAM-MB).

    All branches share the gate; each has scores of its own. With the state h of a tile, the score of branch k is
    ``w_k . (tanh(V h) * sigmoid(U h))``, and its weight is the softmax of the scores over the bag. Output k is a linear
    function of the mean weighted by branch k. With one output this is AMIL with dropout in the gate.

    Differences from the paper: the clustering loss on tiles is left out, because it is defined only for classes and
    would need the labels in the network; layers are smaller by default, for cohorts of hundreds of patients.

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the tile states.
        attention_dim: hidden size of the attention gate.
        dropout: dropout rate of the tile states, of the gate and of the weighted means.
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
        self.value = nn.Sequential(nn.Linear(hidden_dim, attention_dim), nn.Tanh(), nn.Dropout(dropout))
        self.gate = nn.Sequential(nn.Linear(hidden_dim, attention_dim), nn.Sigmoid(), nn.Dropout(dropout))
        self.scores = nn.Linear(attention_dim, num_outputs)

    def states(self, bag: Data) -> Tensor:
        """Reduced features (N, hidden_dim)."""
        return self.reduce(self.standardizer(bag.x))

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Weighted sum of each branch (B, K, hidden_dim), and the attention (N, K)."""
        scores = self.scores(self.value(states) * self.gate(states))
        attention = softmax(scores, bag.batch, num_nodes=bag.num_graphs)
        # One branch at a time: (N, K, hidden_dim) would be large for many tiles and outputs.
        pooled = [
            scatter(weights.unsqueeze(-1) * states, bag.batch, dim_size=bag.num_graphs, reduce="sum")
            for weights in attention.unbind(1)
        ]
        return torch.stack(pooled, 1), attention
