"""Store of latent entity graphs, the training data of graph methods: one HDF5 file per unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.stores.ragged_store import RaggedStore, topology
from hmgdm_monai.data.stores.ragged_unit import TOPOLOGY, Field, StoredTile, write_ragged_unit

_KIND = "latent entity graphs"


def latent_settings(
    graph_settings: Mapping[str, Any],
    entities: str,
    dtype: Literal["float16", "float32"] = "float16",
    edge_latents: bool = True,
) -> dict[str, Any]:
    """Build the settings of a latent unit from those of its graphs and the entity encoder.

    Args:
        graph_settings: settings of the unit in the graph store.
        entities: digest of the entity encoder.
        dtype: type of the stored latents.
        edge_latents: whether edges have latents too.
    """
    return {"graph": dict(graph_settings), "entities": entities, "dtype": dtype, "edge_latents": edge_latents}


def write_latent_unit(folder: Path | str, name: str, tiles: Iterable[StoredTile], settings: Mapping[str, Any]) -> Path:
    """Write the latents of one unit, completely or not at all; an existing unit is kept.

    Args:
        folder: folder of the store.
        name: name of the unit, the same as in the graph store.
        tiles: tiles whose graphs hold ``vertex_latents`` (V, D) and, if the settings include edges, ``edge_latents``
            (E, D), on the CPU; the other fields are copied.
        settings: output of :func:`latent_settings`.

    Returns:
        Path of the unit.

    Raises:
        InputError: the disk is full.
        ValueError: latents are not finite in the stored type, or do not fit their graph.
    """
    return write_ragged_unit(folder, name, tiles, settings, _KIND, _latents(settings["dtype"], settings))


class LatentStore(RaggedStore):
    """The latent entity graphs of many units, as one sequence.

    An item is an :class:`EntityGraph` with ``pos``, ``edge_index``, ``vertex_latents`` (V, D) and, if the unit has
    them, ``edge_latents`` (E, D). Latents are always returned as float32. Errors are those of :class:`RaggedStore`.

    Args:
        paths: paths of the units; tiles are numbered in this order.
        edges: also load ``edge_latents``.
    """

    kind = _KIND

    def __init__(self, paths: Sequence[Path | str], edges: bool = True) -> None:
        super().__init__(paths)
        self.edges = edges

    def __getitem__(self, index: int) -> EntityGraph:
        settings = self.units[self._places[index][0]].settings
        fields = _latents("float32", {"edge_latents": self.edges and settings["edge_latents"]})
        arrays = self._read(index, (*TOPOLOGY, *fields))
        graph = topology(arrays)
        for field in fields:
            graph[field.name] = torch.from_numpy(arrays[field.name]).float()
        return graph


def _latents(dtype: str, settings: Mapping[str, Any]) -> tuple[Field, ...]:
    """The HDF5 datasets of a unit with these settings."""
    vertices = Field("vertex_latents", "vertex", dtype, lambda tile: tile.graph.vertex_latents.detach())
    if not settings["edge_latents"]:
        return (vertices,)
    return vertices, Field("edge_latents", "edge", dtype, lambda tile: tile.graph.edge_latents.detach())
