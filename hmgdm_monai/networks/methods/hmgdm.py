"""H-MGDM: encoder and denoiser over standardized latent graphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.diffusion.split import split_visible
from hmgdm_monai.networks.encoders.graph_embedder import GraphEmbedder
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder, GraphEncoding
from hmgdm_monai.networks.layers.readout import StatisticsReadout
from hmgdm_monai.networks.methods.graph_denoiser import GraphDenoiser


class MaskedDiffusionOutput(NamedTuple):
    """Predictions and targets of a training step for Vh hidden vertices and Eh hidden edges (Z latent channels).

    Attributes:
        vertex_prediction: (Vh, Z).
        vertex_target: (Vh, Z).
        edge_prediction: (Eh, Z), None if edges have no latents.
        edge_target: (Eh, Z), None if edges have no latents.
        kl: scalar, KL divergence of the encoder's bottleneck.
    """

    vertex_prediction: Tensor
    vertex_target: Tensor
    edge_prediction: Tensor | None
    edge_target: Tensor | None
    kl: Tensor


class HMGDM(GraphEmbedder):
    """Masked graph diffusion: encoder on the visible half, denoiser on the hidden half.

    If graphs have degraded views of their tiles, the encoder gets, for each graph, a random choice among these views
    and the original tile; the target is always the original tile. So the encoder learns to ignore changes of stain,
    focus and compression. The paper has no such views.

    Args:
        encoder: graph encoder; uses only visible entities.
        denoiser: graph denoiser; uses noisy hidden entities and the encoding.
        mask_ratio: share of vertices, and of edges, to hide in every graph.
        readout: pools states for :meth:`embed`; None uses ``StatisticsReadout()``.

    Raises:
        ValueError: encoder and denoiser do not match, or ``mask_ratio`` is not between 0 and 1.

    Example:
        >>> import torch
        >>> from hmgdm_monai import EntityGraph, Noising, MaskedGraphLoss, build_hmgdm
        >>> graph = EntityGraph(pos=torch.rand(4, 2), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))
        >>> graph.vertex_latents, graph.edge_latents = torch.randn(4, 8), torch.randn(3, 8)
        >>> network = build_hmgdm(latent_dim=8)  # an HMGDM
        >>> loss = MaskedGraphLoss()(*network(graph, Noising()))
        >>> loss.backward()
        >>> tuple(network.embed(graph).shape)  # mean and deviation of states (64) and of latents (8)
        (1, 144)
    """

    def __init__(
        self,
        encoder: GraphEncoder,
        denoiser: GraphDenoiser,
        mask_ratio: float = 0.6,
        readout: StatisticsReadout | None = None,
    ) -> None:
        super().__init__(encoder, readout)
        for name in ("latent_dim", "hidden_dim", "num_layers", "edge_latents"):
            ours, theirs = getattr(encoder, name), getattr(denoiser, name)
            if ours != theirs:
                raise ValueError(f"encoder and denoiser must have one {name}, got {ours} and {theirs}")
        if not 0.0 < mask_ratio < 1.0:
            raise ValueError(f"mask_ratio must lie between 0 and 1, exclusive, got {mask_ratio}")
        self.denoiser = denoiser
        self.mask_ratio = mask_ratio

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of :func:`~hmgdm_monai.networks.methods.build.build_hmgdm` that give this network."""
        readout = {"mask_ratio": float(self.mask_ratio), "readout": list(self.readout.statistics)}
        return {**self.encoder.settings, **self.denoiser.settings, **readout}

    def split(self, graph: EntityGraph, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw a new split of every graph in the batch: visible vertices (V,) and visible edges (E,), bool.

        Args:
            graph: batch of latent graphs.
            generator: random generator on the CPU; None uses PyTorch's default.
        """
        vertex_visible = split_visible(graph.vertex_batch, self.mask_ratio, generator)
        return vertex_visible, split_visible(graph.edge_batch, self.mask_ratio, generator)

    def forward(
        self, graph: EntityGraph, noising: Noising, generator: torch.Generator | BatchDraws | None = None
    ) -> MaskedDiffusionOutput:
        """Predictions of one training step: split, noise on the hidden half, encode the visible half, denoise.

        Args:
            graph: batch of latent graphs.
            noising: forward process.
            generator: random generator of split, timesteps and noise, on the CPU; or the draws for a batch that ranks
                share.
        """
        draws = generator if isinstance(generator, BatchDraws) else BatchDraws(graph, generator)
        vertices, edges = self._latents(graph)
        vertex_visible = draws.of_vertices(lambda batch: split_visible(batch, self.mask_ratio, draws.generator))
        edge_visible = draws.of_edges(lambda batch: split_visible(batch, self.mask_ratio, draws.generator))
        timesteps = draws.of_graphs(lambda count: noising.draw_timesteps(count, draws.generator)).to(vertices.device)
        seen = self._view_latents(graph, draws)
        encoding = self.encoder(*seen, graph.edge_index, graph.pos, vertex_visible, edge_visible, draws)

        def normal(batch: Tensor) -> Tensor:
            return torch.randn(len(batch), vertices.shape[1], generator=draws.generator)

        vertex_noise = draws.of_vertices(normal).to(vertices)
        vertex_times = timesteps[graph.vertex_batch]
        noisy_vertices = noising.add_noise(vertices, vertex_noise, vertex_times)
        noisy_edges = edge_target = None
        if edges is not None:
            edge_noise = draws.of_edges(normal).to(edges)
            edge_times = timesteps[graph.edge_batch]
            noisy_edges = noising.add_noise(edges, edge_noise, edge_times)
            gone = ~edge_visible
            edge_target = noising.target(edges[gone], edge_noise[gone], edge_times[gone])
        vertex_prediction, edge_prediction = self.denoise(
            graph, noisy_vertices, noisy_edges, encoding, vertex_visible, edge_visible, timesteps
        )
        hidden = ~vertex_visible
        vertex_target = noising.target(vertices[hidden], vertex_noise[hidden], vertex_times[hidden])
        if edge_prediction is not None:
            edge_prediction = edge_prediction[~edge_visible]
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
        predictions: tuple[Tensor, Tensor | None] = self.denoiser(
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
        return predictions
