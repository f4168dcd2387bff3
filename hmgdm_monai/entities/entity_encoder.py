"""Interface of entity encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph


class EntityEncoder(nn.Module, ABC):
    """Compute one latent for each vertex and, optionally, each edge of a batch of entity graphs with their tiles.

    It is deterministic, and frozen once graphs are encoded with it.

    Attributes:
        edge_latents: whether edges get latents too.
    """

    kind: ClassVar[str]
    edge_latents: bool

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """Size D of a latent."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The constructor arguments, as JSON values."""

    @abstractmethod
    def forward(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        """Compute the latents of the entities of a batch of B graphs.

        Args:
            graph: graph with ``image`` (B, 3, S, S) uint8, ``label_map`` (B, S, S), ``pos`` (V, 2) and ``edge_index``
                (2, E), on the encoder's device.

        Returns:
            Latents of vertices (V, D) and of edges (E, D), or None without edge latents.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of everything that influences the latents."""

    def latent_graph(self, graph: EntityGraph) -> EntityGraph:
        """Copy the graph (or batch), with ``vertex_latents`` and ``edge_latents`` instead of ``image``."""
        vertices, edges = self(graph)
        latents = graph.clone()
        latents.pop("image", None)
        latents.vertex_latents = vertices
        if edges is not None:
            latents.edge_latents = edges
        return latents
