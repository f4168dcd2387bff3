"""Divide the tiles of a dictionary into entities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils.enums import TransformBackends

from hmgdm_monai.transforms.entity_cutter import EntityCutter


class CutEntitiesd(MapTransform):
    """Divide a tile into entities and find the edges between them.

    Reads ``mpp`` (microns per pixel, None if unknown) and ``outlines`` ((S, S), cells of another program) from the
    dictionary if they exist. Adds ``label_map`` (1, S, S) and ``edge_index`` (2, E); see
    :class:`~hmgdm_monai.transforms.entity_cutter.CutTile`.

    Args:
        keys: key of the tile, (3, S, S) uint8; one key.
        cutter: cutter for superpixels, squares or cells.
        allow_missing_keys: skip a missing tile instead of raising.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, keys: KeysCollection, cutter: EntityCutter, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.cutter = cutter

    @property
    def reads_cells(self) -> bool:
        """Whether the cutter reads cell outlines."""
        return self.cutter.reads_cells

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with ``label_map`` and ``edge_index``.

        Raises:
            NoEntitiesError: the tile shows no entity.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d["label_map"], d["edge_index"] = self.cutter.cut(d[key], d.get("mpp"), d.get("outlines"))
        return d
