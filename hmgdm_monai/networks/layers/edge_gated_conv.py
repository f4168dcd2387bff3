"""Graph convolution of vertices with learned edge gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.utils import scatter, softmax

_CLOSED = -1e4  # logarithm of a closed gate; representable in half precision


class EdgeGatedConv(nn.Module):
    """Average the neighbors of each vertex, each weighted by a learned gate of the edge between them.

    For an edge e between i and j the gate is g_e = sigmoid(MLP([h_e, h_i + h_j, |h_i - h_j|])), D values in [0, 1], the
    same from both ends, and

        out_i = W_self h_i + sum_j g_e * (W_near h_j + W_edge h_e) / sum_j g_e.

    The sums run over the edges that pass messages; without any, the second term is 0. Without edge states, the terms
    with h_e are omitted.

    Args:
        channels: size D of the states, input and output.
        edge_states: whether edges have states.
    """

    def __init__(self, channels: int, edge_states: bool = True) -> None:
        super().__init__()
        self.own = nn.Linear(channels, channels)
        self.near = nn.Linear(channels, channels, bias=False)
        self.edge = nn.Linear(channels, channels, bias=False) if edge_states else None
        gate_in = channels * (3 if edge_states else 2)
        self.gate = nn.Sequential(nn.Linear(gate_in, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(
        self,
        vertices: Tensor,
        edges: Tensor | None,
        edge_index: Tensor,
        vertex_sends: Tensor | None = None,
        edge_passes: Tensor | None = None,
        edge_sends: Tensor | None = None,
    ) -> Tensor:
        """Convolve the vertex states.

        Args:
            vertices: (V, D) states.
            edges: (E, D) states, or None if edges have no states.
            edge_index: (2, E), each undirected edge once.
            vertex_sends: (V,) bool; vertices that send their state. None: all.
            edge_passes: (E,) bool; edges that pass messages. None: all.
            edge_sends: (E,) bool; edges whose own state is sent and used in the gate (otherwise it counts as zero).
                None: all.

        Returns:
            (V, D).
        """
        kept = edge_index if edge_passes is None else edge_index[:, edge_passes]
        here, there = torch.cat((kept, kept.flip(0)), dim=1)  # both directions
        near = vertices if vertex_sends is None else vertices * vertex_sends.unsqueeze(-1)
        ends = (near[kept[0]] + near[kept[1]], (near[kept[0]] - near[kept[1]]).abs())
        message = self.near(near)[there]
        if self.edge is None or edges is None:
            opening = self.gate(torch.cat(ends, dim=-1))
        else:
            own = edges if edge_sends is None else edges * edge_sends.unsqueeze(-1)
            own = own if edge_passes is None else own[edge_passes]
            opening = self.gate(torch.cat((own, *ends), dim=-1))
            message = message + self.edge(own).repeat(2, 1)
        size, log_gate = vertices.shape[0], -F.softplus(-opening).repeat(2, 1)  # softplus stays accurate in exports
        sends = None if vertex_sends is None else vertex_sends[there].unsqueeze(-1)
        if sends is not None:
            log_gate = log_gate.masked_fill(~sends, _CLOSED)
        # g_e / sum_j g_e. If all gates of a vertex are nearly closed, ratios of sigmoids would lose precision.
        share = softmax(log_gate, here, num_nodes=size)
        share = share if sends is None else share * sends
        return self.own(vertices) + scatter(share * message, here, dim_size=size, reduce="sum")
