"""Patch-GCN: a residual graph network on the tile graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import DeepGCNLayer, GENConv

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator, reduced_features
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class PatchGCN(BagAggregator):
    """Context-aware graph network of Chen et al. (MICCAI 2021).

    GENConv layers with residual connections; the states of all layers are concatenated, followed by gated attention.

    Differences from the paper: the edges are those of the given tile graph (paper: 8 spatial neighbors); layers are
    smaller by default, for cohorts of hundreds of patients; batch normalization inside GENConv is replaced by layer
    normalization, so that the output of a bag does not depend on other bags.

    Layers recompute their messages in the backward pass, so training keeps the messages of only one layer in memory:
    about E x hidden_dim x 4 bytes for each of a few tensors.

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the states in each layer.
        num_layers: number of graph convolution layers.
        attention_dim: hidden size of the attention gate.
        dropout: dropout rate of the tile states and of their weighted sum.
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
        self.layers = nn.ModuleList(
            DeepGCNLayer(
                GENConv(hidden_dim, hidden_dim, aggr="softmax", learn_t=True, norm="layer"),
                nn.LayerNorm(hidden_dim),
                nn.ReLU(),
                block="res",
                dropout=0.0,
                ckpt_grad=True,
            )
            for _ in range(num_layers)
        )
        self.join = nn.Sequential(nn.Linear((num_layers + 1) * hidden_dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout))
        self.pooling = GatedAttentionPooling(hidden_dim, attention_dim)

    def states(self, bag: Data) -> Tensor:
        """States (N, hidden_dim) with information from neighbors up to ``num_layers`` steps away."""
        levels = [self.reduce(self.standardizer(bag.x))]
        for layer in self.layers:
            levels.append(layer(levels[-1], bag.edge_index))
        return self.join(torch.cat(levels, 1))

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)
