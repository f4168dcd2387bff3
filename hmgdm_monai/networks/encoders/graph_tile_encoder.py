"""H-MGDM as an encoder of tiles: entities, entity encoder, graph encoder."""

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
    """Entity encoder and H-MGDM encoder, one after the other; entities are those of the training.

    Args:
        entities: the frozen part.
        hmgdm: H-MGDM, or its encoder and readout alone.
        settings: ``{"entities": {"kind": ..., "settings": ...}, "hmgdm": ...}``, of the entity encoder and of the graph
            network's constructor; or with ``"graph_embedder"``, arguments of
            :func:`~hmgdm_monai.networks.methods.build.build_graph_embedder`, of an encoder without a denoiser. The part
            of the entity encoder may be left out.
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
        """Makes the graphs that the networks were trained on.

        Raises:
            InputError: the settings do not tell how, or they came without tiles.
        """
        spec = self.run_settings.get("recipe", {}).get("tile_spec", {})
        return TileToGraph(transforms_of(self.run_settings), spec.get("mpp"))

    @property
    def state_dim(self) -> int:
        """D, the graph encoder's."""
        return self.hmgdm.encoder.hidden_dim

    def prepare(self, samples: EntityGraph) -> EntityGraph:
        """Graphs with their tiles -> latent graphs."""
        return self.entities.latent_graph(samples)

    def states(self, prepared: EntityGraph) -> tuple[Tensor, Tensor, int]:
        """States (V, D) of the vertices of latent graphs, the graph (V,) of each, and B."""
        return self.hmgdm.states(prepared), prepared.vertex_batch, num_graphs(prepared)

    def embed(self, prepared: EntityGraph) -> Tensor:
        """Embeddings (B, S) of latent graphs."""
        return self.hmgdm.embed(prepared)

    def prepares_as(self, other: TileEncoder) -> bool:
        """Whether both make the same latent graphs: by one entity encoder."""
        return isinstance(other, GraphTileEncoder) and self.entities.digest() == other.entities.digest()

    def without_pretext(self) -> GraphTileEncoder:
        """A copy without what only pretraining needs: the denoiser."""
        networks = copy.deepcopy(self.entities), self.hmgdm.without_pretext()
        return GraphTileEncoder(*networks, self.settings, self.run_settings).train(self.training)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Those of the graph encoder."""
        return list(self.hmgdm.encoder.parameters())

    def _choices(self) -> tuple[Any, ...]:
        return (self.kind, self.hmgdm.readout.statistics, self.entities.digest())
