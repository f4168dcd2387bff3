"""Cells as entities: nuclei detected by hematoxylin, or outlines from another program."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from monai.config import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils.enums import TransformBackends

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.cell_edges import CELL_EDGES, cell_edges
from hmgdm_monai.transforms.entity_cutter import CutTile, NoEntitiesError
from hmgdm_monai.transforms.nuclei import SegmentNuclei, check_mpp
from hmgdm_monai.transforms.region_adjacency import centroids_px
from hmgdm_monai.transforms.superpixels import image_as_hwc


class Cells(Transform):
    """Use the cells of a tile as its entities; the space between them belongs to no entity.

    Cells are the outlines given with a tile, or, without outlines, the nuclei of
    :class:`~hmgdm_monai.transforms.nuclei.SegmentNuclei`. Of a cell that crosses the border, the visible part is kept.
    Each cell is one connected piece; of a cell in several pieces, the largest piece is kept.

    Args:
        edges: "delaunay" or "knn"; see :func:`~hmgdm_monai.transforms.cell_edges.cell_edges`.
        neighbors: number of neighbors of each cell, for "knn".
        max_edge_um: maximum length of an edge between the centers of two cells; None for no limit.
        **nuclei: arguments of :class:`~hmgdm_monai.transforms.nuclei.SegmentNuclei`.

    Raises:
        InputError: a setting is out of range.
    """

    backend = [TransformBackends.NUMPY]
    kind = "cells"
    reads_cells = True

    def __init__(
        self, edges: str = "delaunay", neighbors: int = 5, max_edge_um: float | None = 50.0, **nuclei: float
    ) -> None:
        if edges not in CELL_EDGES:
            raise InputError(f"cell_edges must be one of {', '.join(CELL_EDGES)}, not {edges!r}")
        if neighbors < 1 or (max_edge_um is not None and not max_edge_um > 0):
            raise InputError(
                f"cell_neighbors ({neighbors}) must be at least 1, and max_edge_um ({max_edge_um}) above 0 or null"
            )
        self.edges, self.neighbors, self.max_edge_um = edges, neighbors, max_edge_um
        self.nuclei = SegmentNuclei(**nuclei)

    def settings(self) -> dict[str, Any]:
        """See :class:`~hmgdm_monai.transforms.entity_cutter.EntityCutter`."""
        return {
            "cells": {
                "edges": self.edges,
                "neighbors": int(self.neighbors) if self.edges == "knn" else None,
                "max_edge_um": None if self.max_edge_um is None else float(self.max_edge_um),
                "nuclei": self.nuclei.settings(),
            }
        }

    def __call__(
        self, image: NdarrayOrTensor, mpp: float | None = None, outlines: np.ndarray | None = None
    ) -> NdarrayOrTensor:
        """Label map (1, H, W) int32 of a tile; see :meth:`cut`."""
        return self.cut(image, mpp, outlines).label_map

    def cut(self, image: NdarrayOrTensor, mpp: float | None = None, outlines: np.ndarray | None = None) -> CutTile:
        """See :class:`~hmgdm_monai.transforms.entity_cutter.EntityCutter`.

        Raises:
            NoEntitiesError: the tile shows no cell.
            InputError: the scale is unknown or too coarse for detecting nuclei, or the outlines have another size.
        """
        pixels = image_as_hwc(image)
        if mpp is None or not (math.isfinite(mpp) and mpp > 0):
            raise InputError(
                "cells are measured in um, but the microns per pixel of this tile are unknown; fill in the manifest's "
                "column mpp"
            )
        if outlines is None:
            check_mpp(mpp)
            found = self.nuclei.label(pixels, mpp)
        else:
            found = np.asarray(outlines)
            if found.shape != pixels.shape[:2] or found.dtype.kind not in "iu":
                raise InputError(
                    f"outlines must be integers {pixels.shape[:2]}, as the tile, not {found.dtype} {found.shape}"
                )
        labels = one_piece_each(found)
        if labels.max() < 0:
            raise NoEntitiesError("shows no cell and therefore has no graph")
        points_um = centroids_px(labels) * mpp
        return CutTile(labels[None], cell_edges(points_um, self.edges, self.neighbors, self.max_edge_um))


def one_piece_each(instances: np.ndarray) -> np.ndarray:
    """Relabel instances (H, W), numbers above 0, to int32 labels 0 to V - 1 in the order of first pixels, else -1.

    Of an instance in several 4-connected pieces, the largest is kept; of equal ones the first.
    """
    from skimage.measure import label

    numbers = np.unique(np.maximum(instances, 0), return_inverse=True)[1].reshape(instances.shape)
    if instances.min() > 0:  # no background: the lowest number is a cell too
        numbers = numbers + 1
    pieces = label(numbers, background=0, connectivity=1)
    count = int(pieces.max())
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    owners = np.zeros(count, np.int64)
    owners[pieces[pieces > 0] - 1] = numbers[pieces > 0]
    largest = np.lexsort((np.arange(count), -sizes, owners))
    kept = np.sort(largest[np.unique(owners[largest], return_index=True)[1]])
    labels = np.full(count + 1, -1, np.int32)
    labels[kept + 1] = np.arange(len(kept), dtype=np.int32)
    return labels[pieces]
