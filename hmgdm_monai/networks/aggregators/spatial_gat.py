"""Graph attention on the tile graph, with the distance between tiles on the edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Data
from torch_geometric.nn import GATv2Conv

from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator, check_heads, reduced_features
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling
from hmgdm_monai.networks.layers.graph_layer import FeedForward

_BASIS = 8  # number of radial functions that describe a length


class SpatialGAT(BagAggregator):
    """Graph attention between neighboring tiles that knows their distance, then gated attention over all tiles.

    Layers are GATv2 (Brody et al., ICLR 2022) with a feed-forward part, both residual. An edge is described by radial
    functions of its length, ``exp(-(log2(1 + length) - c)^2)`` with c = 0, 1, ..., 7. So neighbors in space and in
    feature space are told apart, also if both are edges of the same tile graph.

    Differences from Patch-GCN: it knows distances, and the weight of a neighbor depends on both tiles, not only on the
    neighbor. H-MGDM's own layer (:class:`~hmgdm_monai.networks.layers.edge_gated_conv.EdgeGatedConv`) has a weight for
    each channel instead of each head; on tile graphs, which have up to 16 edges per tile, it takes about four times the
    memory and several times the time.

    Layers recompute their messages in the backward pass, so training keeps the messages of only one layer in memory.

    Batches also need ``edge_length`` (E,): length of each edge in units of the distance between adjacent tiles,
    infinite where it is unknown (:func:`~hmgdm_monai.transforms.tile_graph.edge_lengths`).

    Args:
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        hidden_dim: size of the tile states.
        num_layers: number of graph attention layers.
        num_heads: number of attention heads; divides ``hidden_dim``.
        attention_dim: hidden size of the attention gate.
        dropout: dropout rate of the tile states and of their weighted sum.

    Raises:
        InputError: ``num_heads`` does not divide ``hidden_dim``.
    """

    uses_graph = True

    def __init__(
        self,
        in_channels: int,
        num_outputs: int = 1,
        hidden_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        attention_dim: int = 32,
        dropout: float = 0.25,
    ) -> None:
        super().__init__(in_channels, hidden_dim, num_outputs, dropout)
        check_heads(num_heads, hidden_dim)
        self.reduce = reduced_features(in_channels, hidden_dim, dropout)
        self.layers = nn.ModuleList(_Layer(hidden_dim, num_heads) for _ in range(num_layers))
        self.pooling = GatedAttentionPooling(hidden_dim, attention_dim)

    def states(self, bag: Data) -> Tensor:
        """States (N, hidden_dim) with information from neighbors up to ``num_layers`` steps away."""
        states = self.reduce(self.standardizer(bag.x))
        edges = radial_basis(bag.edge_length).to(states.dtype)
        for layer in self.layers:
            states = checkpoint(layer, states, edges, bag.edge_index, use_reentrant=False)
        return states

    def pool(self, states: Tensor, bag: Data) -> tuple[Tensor, Tensor]:
        """Attention-weighted sum (B, hidden_dim), and the attention (N,)."""
        return self.pooling(states, bag.batch, bag.num_graphs)


class _Layer(nn.Module):
    """Residual layer: graph attention, then feed-forward, each after layer normalization."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = GATv2Conv(channels, channels // heads, heads, add_self_loops=False, edge_dim=_BASIS)
        self.feed_forward = FeedForward(channels)

    def forward(self, states: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        """Update vertices (V, D), given edges (E, 8) and edge_index (2, E) from neighbor to tile."""
        states = states + self.conv(self.norm(states), edge_index, edges)
        return states + self.feed_forward(states)


def radial_basis(lengths: Tensor) -> Tensor:
    """Return radial functions (E, 8) of lengths (E,); all are zero for an infinite length."""
    centers = torch.arange(_BASIS, device=lengths.device)
    return torch.exp(-((torch.log2(1 + lengths).unsqueeze(-1) - centers) ** 2))
