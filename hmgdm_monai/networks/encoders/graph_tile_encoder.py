"""H-MGDM as a tile encoder: entities, entity encoder, graph encoder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.networks.encoders.graph_embedder import GraphEmbedder, num_graphs
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.encoders.tile_sample import TileToGraph, transforms_of


class GraphTileEncoder(TileEncoder):
    """Entity encoder followed by the H-MGDM encoder; entities are the same as in training.

    Args:
        entities: the entity encoder, frozen.
        hmgdm: H-MGDM, or only its encoder and readout.
        settings: ``{"entities": {"kind": ..., "settings": ...}, "hmgdm": ...}``, the constructor arguments of the
            entity encoder and of the graph network. For an encoder without a denoiser, ``"graph_embedder"`` replaces
            ``"hmgdm"``, with arguments of :func:`~hmgdm_monai.networks.methods.build.build_graph_embedder`.
            ``"entities"`` may be omitted.
        run_settings: see the base class.
    """

    kind = "hmgdm"
    pretext_weights = ("hmgdm.denoiser.",)

    def __init__(
        self,
        entities: EntityEncoder,
        hmgdm: GraphEmbedder,
        settings: Mapping[str, Any],
        run_settings: Mapping[str, Any],
    ) -> None:
        own = {"kind": entities.kind, "settings": dict(entities.settings)}
        super().__init__({**settings, "entities": own}, run_settings)
        self.entities, self.hmgdm = entities, hmgdm

    @cached_property
    def to_sample(self) -> TileToGraph:
        """Builds the graphs on which the networks were trained.

        Raises:
            InputError: the settings do not contain the transforms, or the graphs had no tiles.
        """
        spec = self.run_settings.get("recipe", {}).get("tile_spec", {})
        return TileToGraph(transforms_of(self.run_settings), spec.get("mpp"))

    @property
    def state_dim(self) -> int:
        """Size D of the graph encoder's states."""
        return self.hmgdm.encoder.hidden_dim

    def prepare(self, samples: EntityGraph) -> EntityGraph:
        """Convert graphs with their tiles to latent graphs."""
        return self.entities.latent_graph(samples)

    def states(self, prepared: EntityGraph) -> tuple[Tensor, Tensor, int]:
        """States (V, D) of the vertices of latent graphs, graph index (V,) of each, and the number of graphs B."""
        return self.hmgdm.states(prepared), prepared.vertex_batch, num_graphs(prepared)

    def embed(self, prepared: EntityGraph) -> Tensor:
        """Embeddings (B, S) of latent graphs."""
        return self.hmgdm.embed(prepared)

    def embed_entities(self, prepared: EntityGraph) -> tuple[Tensor, Tensor]:
        """Embeddings (V, S) of the vertices of latent graphs, and graph index (V,) of each; see the base class."""
        return self.hmgdm.embed_vertices(prepared), prepared.vertex_batch

    def prepares_as(self, other: TileEncoder) -> bool:
        """Whether both compute the same latent graphs, because they have the same entity encoder."""
        return isinstance(other, GraphTileEncoder) and self.entities.digest() == other.entities.digest()

    def without_pretext(self) -> GraphTileEncoder:
        """Copy without the denoiser, which only pretraining needs."""
        networks = copy.deepcopy(self.entities), self.hmgdm.without_pretext()
        return GraphTileEncoder(*networks, self.settings, self.run_settings).train(self.training)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters of the graph encoder."""
        return list(self.hmgdm.encoder.parameters())

    def _choices(self) -> tuple[Any, ...]:
        return (self.kind, self.hmgdm.readout.statistics, self.entities.digest())
