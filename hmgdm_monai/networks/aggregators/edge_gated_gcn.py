"""Edge-gated graph network on the tile graph, with the distance between tiles on the edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Data
from torch_geometric.utils import coalesce

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.layers.edge_gated_conv import EdgeGatedConv
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling
from hmgdm_monai.networks.layers.graph_layer import FeedForward

_BASIS = 8  # number of radial functions that describe a length


class EdgeGatedGCN(BagAggregator):
    """H-MGDM's edge-gated convolutions on the graph of tiles, then gated attention.

    Tiles are vertices. The state of an edge is a linear function of its length, in radial functions
    ``exp(-(log2(1 + length) - c)^2)`` with c = 0, 1, ..., 7. A learned gate weights each neighbor in each channel, by
    the length of the edge and by both tiles (:class:`~hmgdm_monai.networks.layers.edge_gated_conv.EdgeGatedConv`).

    Differences from Patch-GCN: it knows the distance between tiles, so that neighbors in space and in feature space
    are told apart; the weight of a neighbor depends on both tiles and not only on the neighbor; messages go both ways
    along an edge.

    Layers recompute their messages in the backward pass, so training keeps the messages of only one layer in memory.

    Batches also need ``edge_length`` (E,): length of each edge in units of the distance between adjacent tiles,
    infinite where it is unknown (:func:`~hmgdm_monai.transforms.tile_graph.edge_lengths`).

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the tile states.
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
        num_layers: int = 2,
        attention_dim: int = 32,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(in_channels, hidden_dim, num_outputs, dropout)
        self.reduce = nn.Sequential(nn.Linear(in_channels, hidden_dim), nn.ReLU(), nn.Dropout(dropout))
        self.edge_states = nn.Linear(_BASIS, hidden_dim)
        self.layers = nn.ModuleList(_Layer(hidden_dim) for _ in range(num_layers))
        self.pooling = GatedAttentionPooling(hidden_dim, attention_dim)

    def states(self, bag: Data) -> Tensor:
        """States (N, hidden_dim) with information from neighbors up to ``num_layers`` steps away."""
        states = self.reduce(self.standardizer(bag.x))
        ends = torch.stack((bag.edge_index.amin(0), bag.edge_index.amax(0)))
        # Each undirected edge once. Both directions have the same length.
        edge_index, lengths = coalesce(ends, bag.edge_length, num_nodes=len(states), reduce="min")
        edges = self.edge_states(radial_basis(lengths).to(states.dtype))
        for layer in self.layers:
            states = checkpoint(layer, states, edges, edge_index, use_reentrant=False)
        return states

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)


class _Layer(nn.Module):
    """Residual layer of vertices: edge-gated convolution, then feed-forward, each after layer normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = EdgeGatedConv(channels)
        self.feed_forward = FeedForward(channels)

    def forward(self, states: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        """Update vertices (V, D), given edges (E, D) and edge_index (2, E), each undirected edge once."""
        states = states + self.conv(self.norm(states), edges, edge_index)
        return states + self.feed_forward(states)


def radial_basis(lengths: Tensor) -> Tensor:
    """Return radial functions (E, 8) of lengths (E,); all are zero for an infinite length."""
    centers = torch.arange(_BASIS, device=lengths.device)
    return torch.exp(-((torch.log2(1 + lengths).unsqueeze(-1) - centers) ** 2))
