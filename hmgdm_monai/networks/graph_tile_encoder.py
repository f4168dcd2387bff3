"""H-MGDM as an encoder of tiles: superpixels, windows, entity autoencoder, graph encoder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph, entity_windows
from hmgdm_monai.networks.build import build_hmgdm, build_trunk
from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder
from hmgdm_monai.networks.graph_trunk import GraphTrunk, num_graphs
from hmgdm_monai.networks.tile_encoder import TileEncoder
from hmgdm_monai.networks.tile_sample import TileToGraph, stain_of, superpixels_of

_WINDOWS_STEP = 64


def latent_graph(
    autoencoder: EntityAutoencoder, graph: EntityGraph, batch_windows: int = 1024, edge_windows: bool = True
) -> EntityGraph:
    """The same (batch of) graph(s) with latents in place of windows: of vertices, and of edges that have windows.

    Args:
        autoencoder: of stage 1, on the graph's device.
        graph: with windows.
        batch_windows: most windows encoded at once; on a CPU 4,096 took half as long again as 1,024.
        edge_windows: whether to encode those of edges; without, they are left out of the result unencoded.
    """
    latents = graph.clone()
    if not edge_windows:
        latents.pop("edge_windows", None)
    windows = entity_windows(latents)
    vertices, count = len(latents.pop("vertex_windows")), len(windows)
    # Convolutions on a CPU keep compiled code and memory for every batch size that they have met: on a long slide that
    # grew by hundreds of MB. Whole steps leave them few sizes to meet.
    missing = -count % _WINDOWS_STEP
    windows = torch.cat((windows, windows.new_zeros(missing, *windows.shape[1:])))
    codes = torch.cat([autoencoder.encode(some.float() / 255.0) for some in windows.split(batch_windows)])[:count]
    latents.vertex_latents = codes[:vertices]
    if latents.pop("edge_windows", None) is not None:
        latents.edge_latents = codes[vertices:]
    return latents


class GraphTileEncoder(TileEncoder):
    """Entity autoencoder and H-MGDM encoder, one after the other; entities are superpixels.

    Args:
        autoencoder: of stage 1, the frozen part.
        hmgdm: of stage 2, or its trunk.
        settings: ``{"autoencoder": ..., "hmgdm": ...}``, arguments of both constructors; or ``{"autoencoder": ...,
            "trunk": ...}``, arguments of :func:`~hmgdm_monai.networks.build.build_trunk`, of an encoder that has no
            denoiser.
        run_settings: see the base class.
    """

    kind = "hmgdm"
    pretext_weights = ("hmgdm.denoiser.", "hmgdm.projection.")

    def __init__(
        self,
        autoencoder: EntityAutoencoder,
        hmgdm: GraphTrunk,
        settings: Mapping[str, Any],
        run_settings: Mapping[str, Any],
    ) -> None:
        super().__init__(settings, run_settings)
        self.autoencoder, self.hmgdm = autoencoder, hmgdm

    @classmethod
    def build(cls, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> GraphTileEncoder:
        """An untrained one."""
        graph = build_trunk(**settings["trunk"]) if "trunk" in settings else build_hmgdm(**settings["hmgdm"])
        return cls(EntityAutoencoder(**settings["autoencoder"]), graph, settings, run_settings)

    @cached_property
    def to_sample(self) -> TileToGraph:
        """Makes the graphs that the networks were trained on."""
        superpixels, stain = superpixels_of(self.run_settings), stain_of(self.run_settings)
        return TileToGraph(superpixels, stain, self.autoencoder.window_px, self.edge_windows)

    @property
    def edge_windows(self) -> bool:
        """Whether the graphs that it takes have windows on edges, too."""
        return self.hmgdm.encoder.edge_latents

    @property
    def state_dim(self) -> int:
        """D, the graph encoder's."""
        return self.hmgdm.encoder.hidden_dim

    def prepare(self, samples: EntityGraph) -> EntityGraph:
        """Graphs with windows -> latent graphs."""
        return latent_graph(self.autoencoder, samples, edge_windows=self.edge_windows)

    def states(self, prepared: EntityGraph) -> tuple[Tensor, Tensor, int]:
        """States (V, D) of the vertices of latent graphs, the graph (V,) of each, and B."""
        return self.hmgdm.states(prepared), prepared.vertex_batch, num_graphs(prepared)

    def embed(self, prepared: EntityGraph) -> Tensor:
        """Embeddings (B, S) of latent graphs."""
        return self.hmgdm.embed(prepared)

    def prepares_as(self, other: TileEncoder) -> bool:
        """Whether both make the same latent graphs: by one autoencoder, of the same entities."""
        if not isinstance(other, GraphTileEncoder) or self.settings["autoencoder"] != other.settings["autoencoder"]:
            return False
        if self.edge_windows != other.edge_windows:
            return False
        theirs = other.autoencoder.state_dict()
        return all(
            torch.equal(value.cpu(), theirs[name].cpu()) for name, value in self.autoencoder.state_dict().items()
        )

    def trunk(self) -> GraphTileEncoder:
        """A copy without what only pretraining needs: denoiser and projection."""
        networks = copy.deepcopy(self.autoencoder), self.hmgdm.trunk()
        return GraphTileEncoder(*networks, self.settings, self.run_settings).train(self.training)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Those of the graph encoder."""
        return list(self.hmgdm.encoder.parameters())

    def _choices(self) -> tuple[Any, ...]:
        return (self.kind, self.hmgdm.readout.statistics, self.autoencoder.window_px)
