"""One residual layer of the tissue graph network, for vertices and edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hmgdm_monai.networks.layers.dual_hypergraph import DualHypergraphConv
from hmgdm_monai.networks.layers.edge_gated_conv import EdgeGatedConv

HIDDEN_ENTITIES = ("token", "adjacency", "induced")


class MessageFlow(NamedTuple):
    """Which entities send messages.

    Attributes:
        vertex_sends: (V,) bool, vertices whose state is sent.
        edge_passes: (E,) bool, edges that pass messages between their ends.
        edge_sends: (E,) bool, edges whose own state is sent.
    """

    vertex_sends: Tensor
    edge_passes: Tensor
    edge_sends: Tensor

    @classmethod
    def unhindered(cls, vertex_visible: Tensor, edge_visible: Tensor) -> MessageFlow:
        """Message flow in which all vertices (V,) and edges (E,) send; the masks only give the sizes."""
        everything = torch.ones_like(edge_visible)
        return cls(torch.ones_like(vertex_visible), everything, everything)


def message_flow(vertex_visible: Tensor, edge_visible: Tensor, edge_index: Tensor, hidden_entities: str) -> MessageFlow:
    """Build the message flow for a graph whose hidden entities have no content.

    Args:
        vertex_visible: (V,) bool.
        edge_visible: (E,) bool.
        edge_index: (2, E), each undirected edge once.
        hidden_entities: "token": hidden entities take part as mask tokens with a position. "adjacency": they send
            nothing, but messages between visible vertices pass along hidden edges. "induced": only visible vertices,
            and visible edges with two visible ends, send: the visible subgraph in the strict sense.

    Raises:
        ValueError: ``hidden_entities`` is unknown.
    """
    if hidden_entities not in HIDDEN_ENTITIES:
        raise ValueError(f"hidden_entities must be one of {HIDDEN_ENTITIES}, got {hidden_entities!r}")
    if hidden_entities == "token":
        return MessageFlow.unhindered(vertex_visible, edge_visible)
    if hidden_entities == "adjacency":
        return MessageFlow(vertex_visible, torch.ones_like(edge_visible), edge_visible)
    induced = edge_visible & vertex_visible[edge_index[0]] & vertex_visible[edge_index[1]]
    return MessageFlow(vertex_visible, induced, induced)


class FeedForward(nn.Sequential):
    """LayerNorm, linear layer to ``expansion`` * D, SiLU, linear layer back to D.

    Args:
        channels: size D of the states.
        expansion: hidden size divided by D.
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__(
            nn.LayerNorm(channels),
            nn.Linear(channels, expansion * channels),
            nn.SiLU(),
            nn.Linear(expansion * channels, channels),
        )


class GraphLayer(nn.Module):
    """Pre-normalized residual layer: gated convolution of vertices, dual-hypergraph convolution of edges, feed-forward.

    Edges also receive the mean of their two ends, so that vertices and edges exchange information in every layer.

    Args:
        channels: size D of the states.
        edge_states: whether edges have states (the setting ``edge_latents``).
    """

    def __init__(self, channels: int, edge_states: bool = True) -> None:
        super().__init__()
        self.vertex_norm = nn.LayerNorm(channels)
        self.vertex_conv = EdgeGatedConv(channels, edge_states)
        self.vertex_feed_forward = FeedForward(channels)
        self.edge_states = edge_states
        if edge_states:
            self.edge_norm = nn.LayerNorm(channels)
            self.edge_conv = DualHypergraphConv(channels)
            self.edge_own = nn.Linear(channels, channels)
            self.edge_ends = nn.Linear(channels, channels, bias=False)
            self.edge_feed_forward = FeedForward(channels)

    def forward(
        self, vertices: Tensor, edges: Tensor | None, edge_index: Tensor, flow: MessageFlow | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Update vertices (V, D) and edges (E, D) or None, given edge_index (2, E); the shapes do not change.

        Without a ``flow``, all entities send.

        Args:
            vertices: (V, D) states.
            edges: (E, D) states, or None if edges have no states.
            edge_index: (2, E), each undirected edge once.
            flow: message flow; None lets all entities send.
        """
        sends = (None, None, None) if flow is None else flow
        v = self.vertex_norm(vertices)
        e = self.edge_norm(edges) if self.edge_states and edges is not None else None
        new_vertices = vertices + self.vertex_conv(v, e, edge_index, *sends)
        new_vertices = new_vertices + self.vertex_feed_forward(new_vertices)
        if e is None or edges is None:
            return new_vertices, edges
        sent = v if sends[0] is None else v * sends[0].unsqueeze(-1)
        ends = 0.5 * (sent[edge_index[0]] + sent[edge_index[1]])
        update = self.edge_own(e) + self.edge_conv(e, edge_index, vertices.shape[0], sends[2])
        new_edges = edges + update + self.edge_ends(ends)
        return new_vertices, new_edges + self.edge_feed_forward(new_edges)
