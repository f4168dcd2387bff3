"""H-MGDM, stage 2: encoder and denoiser over standardised latent graphs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.diffusion.noising import GraphNoising
from hmgdm_monai.diffusion.split import split_visible
from hmgdm_monai.networks.graph_denoiser import GraphDenoiser
from hmgdm_monai.networks.graph_encoder import GraphEncoder, GraphEncoding
from hmgdm_monai.networks.readout import StatisticsReadout


def num_graphs(graph: EntityGraph) -> int:
    """B, the number of graphs in a batch; 1 of a single graph, which PyG itself does not count."""
    return graph.num_graphs if isinstance(graph, Batch) else 1


class MaskedDiffusionOutput(NamedTuple):
    """What a training step predicts of the hidden halves: Vh hidden vertices, Eh hidden edges; Z latent channels.

    Attributes:
        vertex_prediction: (Vh, Z).
        vertex_target: (Vh, Z).
        edge_prediction: (Eh, Z), None where edges carry no latents.
        edge_target: (Eh, Z), None where edges carry no latents.
        kl: scalar, KL divergence of the encoder's bottleneck.
    """

    vertex_prediction: Tensor
    vertex_target: Tensor
    edge_prediction: Tensor | None
    edge_target: Tensor | None
    kl: Tensor


class LatentStandardizer(nn.Module):
    """Mean and scale per latent channel, fitted once on training latents and kept in the checkpoint.

    Diffusion mixes latents with unit noise, so they must have unit scale; a KL-regularised code seldom has.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Fit on latents (N, Z); channels that never vary are only centred, as no scale is known for them.

        Raises:
            ValueError: if there are no latents, or not all are finite.
        """
        if len(latents) == 0 or not latents.isfinite().all():
            raise ValueError("latents to standardise must be finite, and there must be at least one row")
        std = latents.std(0, correction=0)
        self.mean.copy_(latents.mean(0))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, latents: Tensor) -> Tensor:
        """Standardise latents (N, Z): mean 0 and variance 1 on the data it was fitted to."""
        return (latents - self.mean) / self.std

    def inverse(self, latents: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return latents * self.std + self.mean


class HMGDM(nn.Module):
    """Masked graph diffusion: encoder on the visible half, denoiser on the hidden half.

    Args:
        encoder: sees visible entities only.
        denoiser: sees noisy hidden entities and the encoding.
        mask_ratio: share of vertices, and of edges, to hide in every graph.
        readout: pools entity states for :meth:`embed`; their mean where None.

    Raises:
        ValueError: if encoder and denoiser do not match, or ``mask_ratio`` does not lie between 0 and 1.
    """

    def __init__(
        self,
        encoder: GraphEncoder,
        denoiser: GraphDenoiser,
        mask_ratio: float = 0.6,
        readout: StatisticsReadout | None = None,
    ) -> None:
        super().__init__()
        for name in ("latent_dim", "hidden_dim", "num_layers", "edge_latents"):
            ours, theirs = getattr(encoder, name), getattr(denoiser, name)
            if ours != theirs:
                raise ValueError(f"encoder and denoiser must have one {name}, got {ours} and {theirs}")
        if not 0.0 < mask_ratio < 1.0:
            raise ValueError(f"mask_ratio must lie between 0 and 1, exclusive, got {mask_ratio}")
        self.standardizer = LatentStandardizer(encoder.latent_dim)
        self.encoder = encoder
        self.denoiser = denoiser
        self.mask_ratio = mask_ratio
        self.readout = StatisticsReadout(("mean",)) if readout is None else readout

    def split(self, graph: EntityGraph, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Visible vertices (V,) and edges (E,) of a fresh complementary split of every graph in the batch."""
        vertex_visible = split_visible(graph.vertex_batch, self.mask_ratio, generator)
        return vertex_visible, split_visible(graph.edge_batch, self.mask_ratio, generator)

    def encode(
        self, graph: EntityGraph, vertex_visible: Tensor | None = None, edge_visible: Tensor | None = None
    ) -> GraphEncoding:
        """Encode a (batch of) latent graph(s), whole or its visible half."""
        vertices, edges = self._latents(graph)
        return self.encoder(vertices, edges, graph.edge_index, graph.pos, vertex_visible, edge_visible)

    def forward(
        self, graph: EntityGraph, noising: GraphNoising, generator: torch.Generator | BatchDraws | None = None
    ) -> MaskedDiffusionOutput:
        """One training step's predictions: split, noise on the hidden half, encode the visible half, denoise.

        Args:
            graph: batch of latent graphs.
            noising: forward process.
            generator: CPU source of split, timesteps and noise; or the draws for a batch that ranks share.
        """
        draws = generator if isinstance(generator, BatchDraws) else BatchDraws(graph, generator)
        vertices, edges = self._latents(graph)
        vertex_visible = draws.of_vertices(lambda batch: split_visible(batch, self.mask_ratio, draws.generator))
        edge_visible = draws.of_edges(lambda batch: split_visible(batch, self.mask_ratio, draws.generator))
        timesteps = draws.of_graphs(lambda count: noising.draw_timesteps(count, draws.generator)).to(vertices.device)
        encoding = self.encoder(vertices, edges, graph.edge_index, graph.pos, vertex_visible, edge_visible, draws)

        def normal(batch: Tensor) -> Tensor:
            return torch.randn(len(batch), vertices.shape[1], generator=draws.generator)

        vertex_noise = draws.of_vertices(normal).to(vertices)
        vertex_times = timesteps[graph.vertex_batch]
        noisy_vertices = noising.add_noise(vertices, vertex_noise, vertex_times)
        noisy_edges = edge_noise = edge_times = None
        if edges is not None:
            edge_noise = draws.of_edges(normal).to(edges)
            edge_times = timesteps[graph.edge_batch]
            noisy_edges = noising.add_noise(edges, edge_noise, edge_times)
        vertex_prediction, edge_prediction = self.denoise(
            graph, noisy_vertices, noisy_edges, encoding, vertex_visible, edge_visible, timesteps
        )
        hidden = ~vertex_visible
        vertex_target = noising.target(vertices[hidden], vertex_noise[hidden], vertex_times[hidden])
        edge_target = None
        if edges is not None and edge_prediction is not None:
            gone = ~edge_visible
            edge_target = noising.target(edges[gone], edge_noise[gone], edge_times[gone])
            edge_prediction = edge_prediction[gone]
        return MaskedDiffusionOutput(
            vertex_prediction[hidden], vertex_target, edge_prediction, edge_target, encoding.kl
        )

    def denoise(
        self,
        graph: EntityGraph,
        noisy_vertices: Tensor,
        noisy_edges: Tensor | None,
        encoding: GraphEncoding,
        vertex_visible: Tensor,
        edge_visible: Tensor,
        timesteps: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Predict the target of hidden entities; see :meth:`GraphDenoiser.forward`."""
        return self.denoiser(
            noisy_vertices,
            noisy_edges,
            encoding,
            graph.edge_index,
            graph.pos,
            graph.vertex_batch,
            vertex_visible,
            edge_visible,
            timesteps,
        )

    def embed(self, graph: EntityGraph) -> Tensor:
        """Embedding of whole graphs, (B, S): readout of the vertices' last states, which have heard the edges'.

        The paper pools by a gate that is learnt with labels; without any, plain statistics stand in its place.
        """
        return self.readout(self.encode(graph).vertex_states[-1], graph.vertex_batch, num_graphs(graph))

    def _latents(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        edges = self.standardizer(graph.edge_latents) if self.encoder.edge_latents else None
        return self.standardizer(graph.vertex_latents), edges
