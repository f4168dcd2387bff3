"""Masked autoencoder of latent graphs: hidden vertices are restored from their neighborhood, without noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.diffusion.split import split_visible
from hmgdm_monai.networks.encoders.graph_embedder import GraphEmbedder
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder
from hmgdm_monai.networks.layers.graph_layer import GraphLayer
from hmgdm_monai.networks.layers.position import PositionEmbedding
from hmgdm_monai.networks.layers.readout import StatisticsReadout


class MaskedVertices(NamedTuple):
    """Restored and true latents of the Vh hidden vertices (Z latent channels).

    Attributes:
        prediction: (Vh, Z).
        target: (Vh, Z), standardized latents.
    """

    prediction: Tensor
    target: Tensor


class GraphMAE(GraphEmbedder):
    """GraphMAE (Hou et al., KDD 2022) with the same encoder as H-MGDM.

    Vertices are hidden, edges are not. The encoder sees a mask token instead of a hidden vertex. Before a small graph
    decoder, the encoder's states of hidden vertices are replaced by a second token, so the decoder must restore a
    vertex from what the encoder knows about its neighbors.

    Differences from the paper: the encoder; graphs with degraded views are restored from one of the views; edges have
    content and states; the decoder gets positions.

    Args:
        encoder: graph encoder.
        mask_ratio: share of the vertices to hide in every graph.
        decoder_layers: number of graph layers of the decoder.
        readout: see the base class.

    Raises:
        ValueError: ``mask_ratio`` is not between 0 and 1, or there is no decoder layer.
    """

    def __init__(
        self,
        encoder: GraphEncoder,
        mask_ratio: float = 0.5,
        decoder_layers: int = 1,
        readout: StatisticsReadout | None = None,
    ) -> None:
        super().__init__(encoder, readout)
        if not 0.0 < mask_ratio < 1.0:
            raise ValueError(f"mask_ratio must lie between 0 and 1, exclusive, got {mask_ratio}")
        if decoder_layers < 1:
            raise ValueError(f"decoder_layers must be at least 1, got {decoder_layers}")
        self.mask_ratio = mask_ratio
        channels = encoder.hidden_dim
        self.enter = nn.Linear(channels, channels, bias=False)
        self.decoder_token = nn.Parameter(0.02 * torch.randn(channels))
        self.decoder_position = PositionEmbedding(channels)
        self.decoder = nn.ModuleList(GraphLayer(channels, encoder.edge_latents) for _ in range(decoder_layers))
        self.leave = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, encoder.latent_dim))

    def forward(self, graph: EntityGraph, generator: torch.Generator | BatchDraws | None = None) -> MaskedVertices:
        """Hide vertices of every graph in the batch and restore them.

        Args:
            graph: batch of latent graphs.
            generator: random generator of the split, on the CPU; or the draws for a batch that ranks share.
        """
        draws = generator if isinstance(generator, BatchDraws) else BatchDraws(graph, generator)
        visible = draws.of_vertices(lambda batch: split_visible(batch, self.mask_ratio, draws.generator))
        vertices, _ = self._latents(graph)
        seen = self._view_latents(graph, draws)
        return MaskedVertices(self.restore(graph, visible, seen)[~visible], vertices[~visible])

    def restore(self, graph: EntityGraph, visible: Tensor, seen: tuple[Tensor, Tensor | None] | None = None) -> Tensor:
        """Predict the latents (V, Z) of all vertices; only those of hidden vertices are meaningful.

        Args:
            graph: batch of latent graphs.
            visible: (V,) bool.
            seen: standardized latents of vertices and edges as input; None uses the graph's own.
        """
        encoding = self.encoder(*(seen or self._latents(graph)), graph.edge_index, graph.pos, visible)
        states = torch.where(visible.unsqueeze(-1), self.enter(encoding.vertex_states[-1]), self.decoder_token)
        states = states + self.decoder_position(graph.pos)
        edges = None if encoding.edge_states is None else encoding.edge_states[-1]
        for layer in self.decoder:
            states, edges = layer(states, edges, graph.edge_index)
        return self.leave(states)
