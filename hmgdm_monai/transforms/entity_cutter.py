"""What the rest of the package asks of whatever cuts a tile into entities."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from monai.config import NdarrayOrTensor

from hmgdm_monai.errors import InputError


class NoEntitiesError(InputError):
    """A tile that shows no entity, and so has no graph; the other tiles of its image are none the worse."""


class CutTile(NamedTuple):
    """The entities of one tile.

    Attributes:
        label_map: (1, H, W) int32, entity of each pixel, 0 to V - 1 in the order of their first pixels; -1 where there
            is none.
        edge_index: (2, E) int64, each undirected edge once, first < second, sorted.
    """

    label_map: np.ndarray
    edge_index: np.ndarray


class EntityCutter(Protocol):
    """Cuts tiles into entities and says which of them are joined by an edge. Picklable.

    Attributes:
        kind: what the entities are, in the plural.
        reads_cells: whether entities are cells: then tiles must tell their scale, and outlines of the manifest's column
            ``cells`` are taken where there are any.
    """

    kind: str
    reads_cells: bool

    def settings(self) -> dict[str, Any]:
        """All that shapes the entities, under the name of their kind, as values that JSON knows."""
        ...

    def cut(self, image: NdarrayOrTensor, mpp: float | None = None, outlines: np.ndarray | None = None) -> CutTile:
        """The entities of one tile.

        Args:
            image: (3, H, W) uint8.
            mpp: microns per pixel; None where unknown.
            outlines: (H, W) integer, a number of its own for each cell and 0 where there is none, of another program;
                read by cutters with ``reads_cells`` alone.

        Raises:
            NoEntitiesError: the tile shows none.
            InputError: an image of another shape or type, or a scale that is needed and not known.
        """
        ...
