"""Graph convolution of vertices under learned edge gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.utils import scatter, softmax

_CLOSED = -1e4  # logarithm of a gate through which nothing passes; half precision can hold it


class EdgeGatedConv(nn.Module):
    """Average a vertex's neighbors, each weighted by a learned gate of the edge between.

    For an edge e between i and j the gate is g_e = sigmoid(MLP([h_e, h_i + h_j, |h_i - h_j|])), D values in [0, 1], the
    same from either end, and

        out_i = W_self h_i + sum_j g_e * (W_near h_j + W_edge h_e) / sum_j g_e.

    Sums run over the edges that pass; without any the second term is 0. Without edge states the terms in h_e fall away.

    With ``differences`` each message has a term more, SiLU(W_diff (h_j - h_i)): how a neighbor differs, which averages
    of neighbors hide where unlike tissue meets (heterophily). It is not linear, for the mean of h_j - h_i alone is the
    mean of h_j less h_i, which W_near and W_self make already.

    Args:
        channels: D, size of the states, in and out.
        edge_states: whether edges carry states.
        differences: whether messages tell how a neighbor differs.
    """

    def __init__(self, channels: int, edge_states: bool = True, differences: bool = False) -> None:
        super().__init__()
        self.own = nn.Linear(channels, channels)
        self.near = nn.Linear(channels, channels, bias=False)
        self.edge = nn.Linear(channels, channels, bias=False) if edge_states else None
        gate_in = channels * (3 if edge_states else 2)
        self.gate = nn.Sequential(nn.Linear(gate_in, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.difference = nn.Linear(channels, channels, bias=False) if differences else None

    def forward(
        self,
        vertices: Tensor,
        edges: Tensor | None,
        edge_index: Tensor,
        vertex_sends: Tensor | None = None,
        edge_passes: Tensor | None = None,
        edge_sends: Tensor | None = None,
    ) -> Tensor:
        """Convolve.

        Args:
            vertices: (V, D) states.
            edges: (E, D) states, or None where edges carry none.
            edge_index: (2, E), each undirected edge once.
            vertex_sends: (V,) bool; states of other vertices reach nobody. None, here as below, for all.
            edge_passes: (E,) bool; edges along which messages go.
            edge_sends: (E,) bool; edges whose own state may be sent and may inform the gate (else it counts as zero).

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
        if self.difference is not None:
            projected = self.difference(vertices)
            message = message + F.silu(projected[there] - projected[here])
        size, log_gate = vertices.shape[0], -F.softplus(-opening).repeat(2, 1)  # softplus: exports keep its digits
        sends = None if vertex_sends is None else vertex_sends[there].unsqueeze(-1)
        if sends is not None:
            log_gate = log_gate.masked_fill(~sends, _CLOSED)
        # g_e / sum_j g_e. Where all of a vertex are nearly closed, ratios of the sigmoids would lose their digits.
        share = softmax(log_gate, here, num_nodes=size)
        share = share if sends is None else share * sends
        return self.own(vertices) + scatter(share * message, here, dim_size=size, reduce="sum")
