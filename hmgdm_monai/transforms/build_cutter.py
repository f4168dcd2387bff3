"""Build the cutter that divides tiles into entities, from the settings of a config."""

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
    """Build the cutter for a kind of entities; None for "graphs", which are read without tiles.

    Args:
        entity_kind: "superpixels", "squares", "cells" or "graphs".
        n_segments: superpixels and squares: approximate number of entities.
        compactness: superpixels: weight of spatial distance against color distance.
        merge_threshold: superpixels: merge neighbors closer in mean color than this; None merges none.
        cell_edges: cells: "delaunay" or "knn".
        cell_neighbors: cells: number of neighbors for "knn".
        max_edge_um: cells: maximum length of an edge in um; None for no limit.

    Raises:
        InputError: the kind does not exist, or a setting of cells is out of range.

    Example:
        >>> build_cutter("squares", n_segments=16).kind
        'squares'
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
