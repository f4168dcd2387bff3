"""Patch-GCN: a residual graph network on the tile graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import DeepGCNLayer, GENConv

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class PatchGCN(BagAggregator):
    """Context-aware graph network of Chen et al. (MICCAI 2021).

    GENConv layers with residuals, all layers' states side by side, then gated attention.

    Departs from the paper: which edges the graph has is the tile graph's affair (theirs: 8 neighbors in space); widths
    are smaller by default, for cohorts of hundreds; batch normalization inside GENConv is layer normalization, so that
    a bag's output depends on no other bag.

    Layers recompute their messages in the backward pass, so that training holds those of one layer at a time: about
    E x hidden_dim x 4 bytes for each of a handful of tensors.

    Args:
        in_channels: D. num_outputs: K. hidden_dim: of each layer. num_layers: of graph convolution.
        attention_dim: of the gate. dropout: of tile states and of their sum.
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
        """States (N, hidden_dim) that know their neighbors up to ``num_layers`` steps away."""
        levels = [self.reduce(self.standardizer(bag.x))]
        for layer in self.layers:
            levels.append(layer(levels[-1], bag.edge_index))
        return self.join(torch.cat(levels, 1))

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)
