"""The part of H-MGDM for downstream tasks: standardized latents, graph encoder, readout."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.entities.latent_standardizer import LatentStandardizer
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder, GraphEncoding
from hmgdm_monai.networks.layers.readout import StatisticsReadout


def num_graphs(graph: EntityGraph) -> int:
    """Number of graphs B in a batch; 1 for a single graph, for which PyG has no count."""
    return graph.num_graphs if isinstance(graph, Batch) else 1


class GraphEmbedder(nn.Module):
    """Compute states of vertices and embeddings from latent graphs.

    Args:
        encoder: graph encoder.
        readout: pools states for :meth:`embed`; None uses ``StatisticsReadout()``.
    """

    def __init__(self, encoder: GraphEncoder, readout: StatisticsReadout | None = None) -> None:
        super().__init__()
        self.standardizer = LatentStandardizer(encoder.latent_dim)
        self.encoder = encoder
        self.readout = StatisticsReadout() if readout is None else readout

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor arguments of encoder and readout, as JSON values."""
        own = {name: value for name, value in self.encoder.settings.items() if name != "bottleneck"}
        return {**own, "readout": list(self.readout.statistics)}

    def without_pretext(self) -> GraphEmbedder:
        """Copy only this part, with its own weights."""
        other = GraphEmbedder(copy.deepcopy(self.encoder), copy.deepcopy(self.readout))
        other.standardizer = copy.deepcopy(self.standardizer)
        return other.train(self.training)

    def encode(
        self, graph: EntityGraph, vertex_visible: Tensor | None = None, edge_visible: Tensor | None = None
    ) -> GraphEncoding:
        """Encode a latent graph, or a batch of them, completely or only its visible half.

        Args:
            graph: latent graph, or a batch of them.
            vertex_visible: (V,) bool; None for all.
            edge_visible: (E,) bool; None for all.
        """
        vertices, edges = self._latents(graph)
        return self.encoder(vertices, edges, graph.edge_index, graph.pos, vertex_visible, edge_visible)

    def states(self, graph: EntityGraph) -> Tensor:
        """Last states (V, D) of the vertices of complete graphs; they include information from the edges."""
        return self.encode(graph).vertex_states[-1]

    def embed(self, graph: EntityGraph) -> Tensor:
        """Embeddings (B, S) of complete graphs: readout of the last states and, optionally, of the latents.

        The paper pools by a gate that is learned with labels; here, without labels, simple statistics replace it.
        """
        return self._embed(graph)[0]

    def embed_vertices(self, graph: EntityGraph) -> Tensor:
        """Embeddings (V, S) of single vertices; their mean over a graph is its embedding.

        :meth:`~hmgdm_monai.networks.layers.readout.StatisticsReadout.of_vertices` defines them.
        """
        pooled, states, latents = self._embed(graph)
        return self.readout.of_vertices(pooled, states, graph.vertex_batch, latents)

    def _embed(self, graph: EntityGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, S), and states (V, D) and standardized latents (V, Z) of the vertices."""
        vertices, edge_latents = self._latents(graph)
        encoding = self.encoder(vertices, edge_latents, graph.edge_index, graph.pos)
        edges = None if encoding.edge_states is None else encoding.edge_states[-1]
        edge_batch = None if edges is None else graph.edge_batch
        states, count = encoding.vertex_states[-1], num_graphs(graph)
        pooled = self.readout(states, graph.vertex_batch, count, edges, edge_batch, vertices)
        return pooled, states, vertices

    def _view_latents(self, graph: EntityGraph, draws: BatchDraws) -> tuple[Tensor, Tensor | None]:
        """Like :meth:`_latents`, but of one random view for each graph: the original tile or a degraded view."""
        views = graph.get("vertex_views")
        if views is None:
            return self._latents(graph)
        count = 1 + views.shape[1]
        chosen = draws.of_graphs(lambda n: torch.randint(count, (n,), generator=draws.generator)).to(views.device)

        def pick(latents: Tensor, others: Tensor, batch: Tensor) -> Tensor:
            rows = torch.arange(len(latents), device=latents.device)
            return self.standardizer(torch.cat((latents.unsqueeze(1), others), dim=1)[rows, chosen[batch]])

        vertices = pick(graph.vertex_latents, views, graph.vertex_batch)
        if not self.encoder.edge_latents:
            return vertices, None
        return vertices, pick(graph.edge_latents, graph.edge_views, graph.edge_batch)

    def _latents(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        if self.encoder.edge_latents and "edge_latents" not in graph:
            raise ValueError("this encoder reads edge latents, but the graph has none; encode with edge_latents true")
        edges = self.standardizer(graph.edge_latents) if self.encoder.edge_latents else None
        return self.standardizer(graph.vertex_latents), edges
