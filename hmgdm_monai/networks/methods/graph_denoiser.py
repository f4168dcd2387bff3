"""Dynamic diffusion decoder D_L: restores the hidden half from its noisy version and the encoded visible half."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import edge_midpoints
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoding
from hmgdm_monai.networks.layers.graph_attention import GraphAttention, RaggedBatch
from hmgdm_monai.networks.layers.graph_layer import FeedForward, GraphLayer, MessageFlow
from hmgdm_monai.networks.layers.position import PositionEmbedding


class EntityLayout(NamedTuple):
    """Layout of the N entities of a batch in one list: the V vertices, then the E edges if they have latents.

    Attributes:
        num_vertices: number of vertices V.
        edge_index: (2, E).
        flow: message flow in graph layers.
        visible: (N,) bool.
        places: positions of all entities in a padded batch.
        visible_places: positions of the visible entities in a padded batch of visible entities.
        hidden_places: positions of the hidden entities in a padded batch of hidden entities.
    """

    num_vertices: int
    edge_index: Tensor
    flow: MessageFlow
    visible: Tensor
    places: RaggedBatch
    visible_places: RaggedBatch
    hidden_places: RaggedBatch


class SelfAttentionBlock(nn.Module):
    """Joint self-attention over the visible and noisy entities of each graph, residual, then feed-forward.

    Args:
        channels: size D of the states.
        heads: number of attention heads; divides D.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = GraphAttention(channels, heads)
        self.feed_forward = FeedForward(channels)

    def forward(self, states: Tensor, layout: EntityLayout) -> Tensor:
        """Map states (N, D) to (N, D)."""
        normed = self.norm(states)
        states = states + self.attention(normed, normed, layout.places, layout.places)
        return states + self.feed_forward(states)


class DecoderBlock(nn.Module):
    """LayerNorm, cross attention to the skip state, residual; graph convolution; LayerNorm, feed-forward, residual.

    Args:
        channels: size D of the states.
        heads: number of attention heads; divides D.
        edge_states: whether edges have states.
    """

    def __init__(self, channels: int, heads: int, edge_states: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.skip_norm = nn.LayerNorm(channels)
        self.attention = GraphAttention(channels, heads)
        self.graph = GraphLayer(channels, edge_states)

    def forward(self, states: Tensor, skip: Tensor, layout: EntityLayout) -> Tensor:
        """Hidden rows of states (N, D) attend to visible rows of skip (N, D), then all exchange messages -> (N, D).

        Args:
            states: (N, D) states of all entities.
            skip: (N, D) encoder states, plus time and position embeddings.
            layout: layout of the entities.
        """
        hidden = (~layout.visible).nonzero().squeeze(1)
        queries, keys = self.norm(states[hidden]), self.skip_norm(skip[layout.visible])
        attended = self.attention(queries, keys, layout.hidden_places, layout.visible_places)
        states = states.index_add(0, hidden, attended.to(states.dtype))  # attention is half precision under autocast
        vertices = states[: layout.num_vertices]
        edges = states[layout.num_vertices :] if self.graph.edge_states else None
        vertices, edges = self.graph(vertices, edges, layout.edge_index, layout.flow)
        return vertices if edges is None else torch.cat((vertices, edges))


class GraphDenoiser(nn.Module):
    """Predict the diffusion target of hidden entities.

    Hidden entities start from their noisy latents, visible ones from the encoder's last state. After joint
    self-attention there is one block for each encoder layer, from the last layer to the first. In a block, hidden
    entities attend to the visible entities in the encoder's state of that layer, plus the time embedding tau(t); then
    all entities exchange messages over the whole topology.

    The clean latents of hidden entities are not an argument, so they cannot leak.

    Args:
        latent_dim: size Z of the latents.
        hidden_dim: size D of the states, the same as in the encoder.
        num_layers: number of layers L, the same as in the encoder.
        heads: number of attention heads; divides D.
        self_attention_depth: number of joint self-attention blocks before the decoder blocks.
        edge_latents: whether edges have latents.
        skip_connections: whether each block uses the encoder state of its own layer; otherwise all blocks use the last
            one (the paper's ablation).
    """

    def __init__(
        self,
        latent_dim: int,
        hidden_dim: int = 64,
        num_layers: int = 2,
        heads: int = 4,
        self_attention_depth: int = 1,
        edge_latents: bool = True,
        skip_connections: bool = True,
    ) -> None:
        super().__init__()
        self.latent_dim, self.hidden_dim, self.num_layers = latent_dim, hidden_dim, num_layers
        self.edge_latents = edge_latents
        # The arguments that the encoder does not have, as JSON values.
        self.settings: dict[str, Any] = {
            "heads": int(heads),
            "self_attention_depth": int(self_attention_depth),
            "skip_connections": bool(skip_connections),
        }
        self.skip_connections = skip_connections
        self.vertex_in = nn.Linear(latent_dim, hidden_dim)
        self.edge_in = nn.Linear(latent_dim, hidden_dim) if edge_latents else None
        self.position = PositionEmbedding(hidden_dim)
        # Rows: visible vertex, hidden vertex, visible edge, hidden edge.
        self.kind = nn.Parameter(0.02 * torch.randn(4, hidden_dim))
        self.timesteps = Timesteps(hidden_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(hidden_dim, hidden_dim)
        self.self_attention = nn.ModuleList(SelfAttentionBlock(hidden_dim, heads) for _ in range(self_attention_depth))
        self.blocks = nn.ModuleList(DecoderBlock(hidden_dim, heads, edge_latents) for _ in range(num_layers))
        self.vertex_out = _head(hidden_dim, latent_dim)
        self.edge_out = _head(hidden_dim, latent_dim) if edge_latents else None

    def forward(
        self,
        noisy_vertices: Tensor,
        noisy_edges: Tensor | None,
        encoding: GraphEncoding,
        edge_index: Tensor,
        pos: Tensor,
        vertex_batch: Tensor,
        vertex_visible: Tensor,
        edge_visible: Tensor,
        timesteps: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Predict the diffusion target.

        Args:
            noisy_vertices: (V, Z); rows of visible vertices are ignored.
            noisy_edges: (E, Z); rows of visible edges are ignored. None if edges have no latents.
            encoding: the encoding of the visible half.
            edge_index: (2, E), each undirected edge once.
            pos: (V, 2).
            vertex_batch: (V,) index of the graph of each vertex.
            vertex_visible: (V,) bool.
            edge_visible: (E,) bool.
            timesteps: (B,) int64, one per graph.

        Returns:
            Predictions for all vertices (V, Z) and edges (E, Z) or None; only the hidden rows are meaningful.

        Raises:
            ValueError: this denoiser needs edge latents, but the noisy ones or the encoder's are missing.
        """
        states = torch.where(vertex_visible.unsqueeze(-1), encoding.vertex_states[-1], self.vertex_in(noisy_vertices))
        batch, place, visible, kind = vertex_batch, pos, vertex_visible, 1 - vertex_visible.long()
        skips = encoding.vertex_states
        if self.edge_in is not None:
            if noisy_edges is None or encoding.edge_states is None:
                raise ValueError("this denoiser needs edge latents, but got none; build it with edge_latents=False")
            edges = torch.where(edge_visible.unsqueeze(-1), encoding.edge_states[-1], self.edge_in(noisy_edges))
            states = torch.cat((states, edges))
            batch = torch.cat((batch, vertex_batch[edge_index[0]]))
            place = torch.cat((place, edge_midpoints(pos, edge_index)))
            visible = torch.cat((visible, edge_visible))
            kind = torch.cat((kind, 3 - edge_visible.long()))
            skips = [torch.cat(both) for both in zip(encoding.vertex_states, encoding.edge_states, strict=True)]
        num_graphs, num_vertices = timesteps.shape[0], pos.shape[0]
        layout = EntityLayout(
            num_vertices,
            edge_index,
            MessageFlow.unhindered(vertex_visible, edge_visible),
            visible,
            RaggedBatch(batch, num_graphs),
            RaggedBatch(batch[visible], num_graphs),
            RaggedBatch(batch[~visible], num_graphs),
        )
        positions = self.position(place)
        tau = self.time(self.timesteps(timesteps).to(states))[batch]  # (N, D)

        states = states + positions + self.kind[kind]
        for block in self.self_attention:
            states = block(states, layout)
        for level in reversed(range(self.num_layers)):
            skip = skips[level if self.skip_connections else -1]
            states = self.blocks[level](states, skip + tau + positions, layout)
        edge_prediction = None if self.edge_out is None else self.edge_out(states[num_vertices:])
        return self.vertex_out(states[:num_vertices]), edge_prediction


def _head(channels: int, latent_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, latent_dim))
