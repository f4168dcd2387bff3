"""Interface of the cutters that divide a tile into entities."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from monai.config import NdarrayOrTensor

from hmgdm_monai.errors import InputError


class NoEntitiesError(InputError):
    """A tile that shows no entity and therefore has no graph; other tiles of its image are not affected."""


class CutTile(NamedTuple):
    """The entities of one tile.

    Attributes:
        label_map: (1, H, W) int32, entity of each pixel, 0 to V - 1 in the order of their first pixels; -1 for no
            entity.
        edge_index: (2, E) int64, each undirected edge once, first < second, sorted.
    """

    label_map: np.ndarray
    edge_index: np.ndarray


class EntityCutter(Protocol):
    """Divides tiles into entities and determines the edges between them. Picklable.

    Attributes:
        kind: kind of the entities, in the plural.
        reads_cells: whether entities are cells. If so, the scale of tiles must be known, and outlines from the
            manifest's column ``cells`` are used if they exist.
    """

    kind: str
    reads_cells: bool

    def settings(self) -> dict[str, Any]:
        """All settings that influence the entities, under the name of their kind, as JSON values."""
        ...

    def cut(self, image: NdarrayOrTensor, mpp: float | None = None, outlines: np.ndarray | None = None) -> CutTile:
        """Find the entities of one tile.

        Args:
            image: (3, H, W) uint8.
            mpp: microns per pixel; None if unknown.
            outlines: (H, W) integer, cells of another program: a different number for each cell and 0 for no cell;
                read only by cutters with ``reads_cells``. None if there are none.

        Raises:
            NoEntitiesError: the tile shows no entity.
            InputError: the image has another shape or type, or the scale is needed and unknown.
        """
        ...
