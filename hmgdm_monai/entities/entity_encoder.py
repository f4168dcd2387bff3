"""What everything else asks of an entity encoder, whichever kind it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph


class EntityEncoder(nn.Module, ABC):
    """From a batch of tiles with their entities to one latent for each vertex and, where wanted, for each edge.

    It is frozen once graphs are encoded by it, and deterministic.

    Attributes:
        edge_latents: whether edges get latents, too.
    """

    kind: ClassVar[str]
    edge_latents: bool

    @property
    @abstractmethod
    def latent_dim(self) -> int:
        """D, size of a latent."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What it is built from, as JSON knows it: arguments of its constructor."""

    @abstractmethod
    def forward(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        """Latents of the entities of a batch of B graphs.

        Args:
            graph: with ``image`` (B, 3, S, S) uint8, ``label_map`` (B, S, S), ``pos`` (V, 2) and ``edge_index`` (2, E),
                on the encoder's device.

        Returns:
            Vertices (V, D) and edges (E, D), or None without edge latents.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of all that latents depend on."""

    def latent_graph(self, graph: EntityGraph) -> EntityGraph:
        """The same (batch of) graph(s) with ``vertex_latents`` and ``edge_latents`` in place of ``image``."""
        vertices, edges = self(graph)
        latents = graph.clone()
        latents.pop("image", None)
        latents.vertex_latents = vertices
        if edges is not None:
            latents.edge_latents = edges
        return latents
