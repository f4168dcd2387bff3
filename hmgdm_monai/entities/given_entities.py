"""Latents that came with the graphs of another program: there is nothing to encode."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.errors import InputError


class GivenEntities(EntityEncoder):
    """Hands on the latents that graphs carry; stands where an entity encoder is asked for, and reads no image.

    Args:
        latent_dim: D, numbers of each vertex.
        edge_latents: whether edges carry as many.
    """

    kind = "graphs"

    def __init__(self, latent_dim: int, edge_latents: bool = False) -> None:
        super().__init__()
        self._latent_dim, self.edge_latents = latent_dim, edge_latents

    @property
    def latent_dim(self) -> int:
        """D."""
        return self._latent_dim

    @property
    def settings(self) -> Mapping[str, Any]:
        """Arguments of the constructor."""
        return {"latent_dim": self.latent_dim, "edge_latents": self.edge_latents}

    def digest(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(f"{self.kind} {self.latent_dim} {self.edge_latents}".encode()).hexdigest()

    def forward(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        """The graph's own ``vertex_latents`` and, where they are wanted, ``edge_latents``.

        Raises:
            InputError: it carries none, or of another size.
        """
        names = ("vertex_latents", "edge_latents") if self.edge_latents else ("vertex_latents",)
        for name in names:
            latents = graph.get(name)
            if latents is None or latents.shape[1] != self.latent_dim:
                found = "none" if latents is None else f"{latents.shape[1]} numbers"
                raise InputError(f"the model takes graphs with {name} of {self.latent_dim} numbers, and got {found}")
        return graph.vertex_latents, graph.edge_latents if self.edge_latents else None
