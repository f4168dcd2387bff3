"""Tissue graph encoder E_L: the part of H-MGDM for downstream tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import edge_midpoints
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.networks.layers.graph_layer import HIDDEN_ENTITIES, GraphLayer, message_flow
from hmgdm_monai.networks.layers.position import PositionEmbedding
from hmgdm_monai.ranks import mean_weight


class GraphEncoding(NamedTuple):
    """Output of the encoder for a batch of graphs.

    Attributes:
        vertex_states: L tensors (V, D), one per layer, the last one after the bottleneck.
        edge_states: L tensors (E, D), or None if edges have no states.
        kl: scalar, KL divergence of the bottleneck from N(0, I), averaged over visible entities and channels. If edges
            have states, it is the mean of the values for vertices and for edges. 0 without a bottleneck.
    """

    vertex_states: list[Tensor]
    edge_states: list[Tensor] | None
    kl: Tensor


class GraphEncoder(nn.Module):
    """L graph layers over the visible entities of latent graphs.

    Hidden entities enter only with their position, as a learned mask token; their latents are never read.
    ``hidden_entities`` determines how they take part in message passing, see
    :func:`hmgdm_monai.networks.layers.graph_layer.message_flow`.

    Args:
        latent_dim: size Z of vertex and edge latents.
        hidden_dim: size D of the states.
        num_layers: number of layers L.
        edge_latents: whether edges have their own latents (the paper's ablation).
        hidden_entities: "token", "adjacency" or "induced".
        use_positions: whether to add an embedding of ``pos``.
        bottleneck: whether the last layer has a Gaussian bottleneck, with separate heads for mean and log-variance. In
            training it samples with PyTorch's default generator; in evaluation it returns the mean.

    Raises:
        ValueError: there are no layers, or ``hidden_entities`` is unknown.
    """

    def __init__(
        self,
        latent_dim: int,
        hidden_dim: int = 64,
        num_layers: int = 2,
        edge_latents: bool = True,
        hidden_entities: str = "token",
        use_positions: bool = True,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        if hidden_entities not in HIDDEN_ENTITIES:
            raise ValueError(f"hidden_entities must be one of {HIDDEN_ENTITIES}, got {hidden_entities!r}")
        self.latent_dim, self.hidden_dim, self.num_layers = latent_dim, hidden_dim, num_layers
        # The arguments, as JSON values.
        self.settings: dict[str, Any] = {
            "latent_dim": int(latent_dim),
            "hidden_dim": int(hidden_dim),
            "num_layers": int(num_layers),
            "edge_latents": bool(edge_latents),
            "hidden_entities": hidden_entities,
            "use_positions": bool(use_positions),
            "bottleneck": bool(bottleneck),
        }
        self.hidden_entities = hidden_entities
        self.edge_latents = edge_latents
        self.vertex_in = nn.Linear(latent_dim, hidden_dim)
        self.vertex_token = nn.Parameter(0.02 * torch.randn(hidden_dim))
        self.edge_in = nn.Linear(latent_dim, hidden_dim) if edge_latents else None
        self.edge_token = nn.Parameter(0.02 * torch.randn(hidden_dim)) if edge_latents else None
        self.position = PositionEmbedding(hidden_dim) if use_positions else None
        self.layers = nn.ModuleList(GraphLayer(hidden_dim, edge_latents) for _ in range(num_layers))
        self.vertex_moments = nn.Linear(hidden_dim, 2 * hidden_dim) if bottleneck else None
        self.edge_moments = nn.Linear(hidden_dim, 2 * hidden_dim) if bottleneck and edge_latents else None

    def forward(
        self,
        vertex_latents: Tensor,
        edge_latents: Tensor | None,
        edge_index: Tensor,
        pos: Tensor,
        vertex_visible: Tensor | None = None,
        edge_visible: Tensor | None = None,
        draws: BatchDraws | None = None,
    ) -> GraphEncoding:
        """Encode latent graphs.

        Args:
            vertex_latents: (V, Z).
            edge_latents: (E, Z); ignored if the encoder does not use edge latents.
            edge_index: (2, E), each undirected edge once.
            pos: (V, 2).
            vertex_visible: (V,) bool; None for all.
            edge_visible: (E,) bool; None for all.
            draws: draws for a batch that ranks share, for the noise of the bottleneck; None for a single process.

        Raises:
            ValueError: the encoder needs edge latents, which are missing.
        """
        whole = vertex_visible is None and edge_visible is None
        if vertex_visible is None:
            vertex_visible = vertex_latents.new_ones(vertex_latents.shape[0], dtype=torch.bool)
        if edge_visible is None:
            edge_visible = vertex_latents.new_ones(edge_index.shape[1], dtype=torch.bool)
        vertices = torch.where(vertex_visible.unsqueeze(-1), self.vertex_in(vertex_latents), self.vertex_token)
        edges = None
        if self.edge_in is not None and self.edge_token is not None:
            if edge_latents is None:
                raise ValueError("this encoder reads edge latents, but got none; build it with edge_latents=False")
            edges = torch.where(edge_visible.unsqueeze(-1), self.edge_in(edge_latents), self.edge_token)
        if self.position is not None:
            vertices = vertices + self.position(pos)
            if edges is not None:
                edges = edges + self.position(edge_midpoints(pos, edge_index))
        # Without masks, no tensor sizes depend on data, so the encoder can be exported for complete graphs.
        flow = None if whole else message_flow(vertex_visible, edge_visible, edge_index, self.hidden_entities)
        vertex_states, edge_states = [], []
        for layer in self.layers:
            vertices, edges = layer(vertices, edges, edge_index, flow)
            vertex_states.append(vertices)
            if edges is not None:
                edge_states.append(edges)
        kl = vertices.new_zeros(())
        if self.vertex_moments is not None:
            of_vertices = None if draws is None else draws.of_vertices
            vertex_states[-1], kl = self._bottleneck(self.vertex_moments, vertices, vertex_visible, of_vertices)
            if self.edge_moments is not None and edges is not None:
                of_edges = None if draws is None else draws.of_edges
                edge_states[-1], edge_kl = self._bottleneck(self.edge_moments, edges, edge_visible, of_edges)
                kl = 0.5 * (kl + edge_kl)
        return GraphEncoding(vertex_states, edge_states or None, kl)

    def _bottleneck(
        self,
        moments: nn.Linear,
        states: Tensor,
        visible: Tensor,
        rows: Callable[[Callable[[Tensor], Tensor]], Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        mean, log_variance = moments(states).chunk(2, dim=-1)
        log_variance = log_variance.clamp(-20.0, 10.0)
        kl_each = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean(-1)  # (N,)
        kl = (kl_each * visible).sum() / visible.sum().clamp(min=1)
        if self.training:

            def normal(batch: Tensor) -> Tensor:
                return torch.randn(len(batch), mean.shape[1], dtype=mean.dtype, device=mean.device)

            kl = kl * mean_weight(visible.sum(), visible.device)
            mean = mean + (normal(mean) if rows is None else rows(normal)) * (0.5 * log_variance).exp()
        return mean, kl
