"""Latents from graphs of another program, which need no encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.errors import InputError


class GivenEntities(EntityEncoder):
    """Return the latents that graphs already have; used as an entity encoder that reads no image.

    Args:
        latent_dim: size D of the vertex latents.
        edge_latents: whether edges have latents of the same size.
    """

    kind = "graphs"

    def __init__(self, latent_dim: int, edge_latents: bool = False) -> None:
        super().__init__()
        self._latent_dim, self.edge_latents = latent_dim, edge_latents

    @property
    def latent_dim(self) -> int:
        """Size D of a latent."""
        return self._latent_dim

    @property
    def settings(self) -> Mapping[str, Any]:
        """The constructor arguments, as JSON values."""
        return {"latent_dim": self.latent_dim, "edge_latents": self.edge_latents}

    def digest(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(f"{self.kind} {self.latent_dim} {self.edge_latents}".encode()).hexdigest()

    def forward(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        """Return the graph's own ``vertex_latents`` and, with ``edge_latents``, its ``edge_latents``.

        Raises:
            InputError: the graph has no latents, or latents of another size.
        """
        names = ("vertex_latents", "edge_latents") if self.edge_latents else ("vertex_latents",)
        for name in names:
            latents = graph.get(name)
            if latents is None or latents.shape[1] != self.latent_dim:
                found = "none" if latents is None else f"{latents.shape[1]} numbers"
                raise InputError(f"the model takes graphs with {name} of {self.latent_dim} numbers, but got {found}")
        return graph.vertex_latents, graph.edge_latents if self.edge_latents else None
