"""Store of tiles and their entity graphs: one HDF5 file per unit, written completely or not at all, then reused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.data.entity_graph import EntityGraph, mpp_tensor
from hmgdm_monai.data.stores.quality_table import QualityTable
from hmgdm_monai.data.stores.ragged_store import RaggedStore, topology
from hmgdm_monai.data.stores.ragged_unit import TOPOLOGY, Field, StoredTile, write_ragged_unit

_KIND = "entity graphs"
_IMAGE = Field("image", "tile", "uint8", lambda tile: tile.image[None])
_LABEL_MAP = Field("label_map", "tile", "int32", lambda tile: tile.graph.label_map)


@dataclass(frozen=True)
class GraphTile(StoredTile):
    """A tile to be written to a graph store (S = its size in px).

    Attributes:
        graph: entity graph with ``pos``, ``edge_index`` and ``label_map`` (1, S, S).
        row_id: id of its row in the manifest.
        location_px: (x, y) of its top-left corner in level-0 pixels.
        mpp: microns per pixel of ``image``; None if unknown.
        image: tile image, (S, S, 3) uint8.

    Raises:
        ValueError: image or label map has another shape.
    """

    image: np.ndarray

    def __post_init__(self) -> None:
        size = self.image.shape[0]
        if self.image.shape != (size, size, 3) or tuple(self.graph.label_map.shape) != (1, size, size):
            raise ValueError(
                f"image {self.image.shape} and label map {tuple(self.graph.label_map.shape)} of a tile are not "
                "(S, S, 3) and (1, S, S)"
            )


def write_unit(
    folder: Path | str,
    name: str,
    tiles: Iterable[GraphTile],
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
    quality: QualityTable | None = None,
) -> Path:
    """Write the tiles of one unit (a slide, or the plain tiles of a patient), completely or not at all.

    If the unit already exists with the same settings, it is kept and ``tiles`` is not consumed. With a generator, an
    interrupted run therefore resumes at the first missing unit.

    Args:
        folder: folder of the store.
        name: name of the unit, any text; it is encoded for the file name.
        tiles: tiles in reading order, all of one size.
        settings: all settings that influence the tiles, as JSON values. Other settings give another file.
        notes: lines about skipped input; read after the last tile.
        quality: scores of the tiles, and tiles that were left out; read after the last tile.

    Returns:
        Path of the unit.

    Raises:
        InputError: the disk is full.
        ValueError: a tile has another size than the tiles before it.
    """
    return write_ragged_unit(folder, name, tiles, settings, _KIND, (_IMAGE, _LABEL_MAP), notes, quality)


class GraphStore(RaggedStore):
    """The entity graphs of the tiles of many units, as one sequence (S = tile size in px).

    An item is an :class:`EntityGraph` with ``pos`` and ``edge_index``.

    Args:
        paths: paths of the units, as returned by :func:`write_unit`.
        tiles: also load ``image`` (1, 3, S, S) uint8, ``label_map`` (1, S, S) int32 and ``mpp`` (1,).

    Raises:
        InputError: a unit is missing, damaged or of another kind; raised here or when its tiles are read.
    """

    kind = _KIND

    def __init__(self, paths: Sequence[Path | str], tiles: bool = True) -> None:
        super().__init__(paths)
        self.tiles = tiles

    def __getitem__(self, index: int) -> EntityGraph:
        arrays = self._read(index, (*TOPOLOGY, *((_IMAGE, _LABEL_MAP) if self.tiles else ())))
        graph = topology(arrays)
        if self.tiles:
            graph.image = torch.from_numpy(np.ascontiguousarray(arrays["image"].transpose(0, 3, 1, 2)))
            graph.label_map = torch.from_numpy(arrays["label_map"])
            graph.mpp = mpp_tensor(self.tile_info(index).mpp)
        return graph

    def image(self, index: int) -> np.ndarray:
        """The image of tile ``index``, (S, S, 3) uint8."""
        return self._read(index, (_IMAGE,))["image"][0]

    def superpixels(self, index: int) -> np.ndarray:
        """The label map of tile ``index``, (1, S, S) int32."""
        return self._read(index, (_LABEL_MAP,))["label_map"]
