"""Whatever cuts tiles into entities, from the settings of a config."""

from __future__ import annotations

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.cells import Cells
from hmgdm_monai.transforms.entity_cutter import EntityCutter
from hmgdm_monai.transforms.squares import Squares
from hmgdm_monai.transforms.superpixels import Superpixels

ENTITY_KINDS = ("superpixels", "squares", "cells", "graphs")


def build_cutter(
    entity_kind: str = "superpixels",
    n_segments: int = 50,
    compactness: float = 20.0,
    merge_threshold: float | None = None,
    cell_edges: str = "delaunay",
    cell_neighbors: int = 5,
    max_edge_um: float | None = 50.0,
) -> EntityCutter | None:
    """What cuts tiles into entities of a kind; None for "graphs", which come without tiles.

    Args:
        entity_kind: "superpixels", "squares", "cells" or "graphs".
        n_segments: of superpixels and squares: about how many are wanted.
        compactness: of superpixels.
        merge_threshold: of superpixels.
        cell_edges: of cells: "delaunay" or "knn".
        cell_neighbors: of cells, for "knn".
        max_edge_um: of cells, um; None for no limit.

    Raises:
        InputError: no such kind, or a setting of cells out of its range.
    """
    if entity_kind == "superpixels":
        return Superpixels(n_segments, compactness, merge_threshold=merge_threshold)
    if entity_kind == "squares":
        return Squares(n_segments)
    if entity_kind == "cells":
        return Cells(cell_edges, cell_neighbors, max_edge_um)
    if entity_kind == "graphs":
        return None
    raise InputError(f"entity_kind must be one of {', '.join(ENTITY_KINDS)}, not {entity_kind!r}")
