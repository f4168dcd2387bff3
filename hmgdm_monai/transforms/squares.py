"""Squares of a regular grid as entities, for the ablation of superpixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from monai.config import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import convert_to_dst_type
from monai.utils.enums import TransformBackends

from hmgdm_monai.transforms.entity_cutter import CutTile
from hmgdm_monai.transforms.region_adjacency import region_adjacency
from hmgdm_monai.transforms.superpixels import image_as_hwc


class Squares(Transform):
    """Divide a tile into the squares of a regular grid, independent of its content; adjacent squares have an edge.

    Args:
        n_segments: approximate number of squares; the grid is the one from which superpixels start.

    Raises:
        ValueError: ``n_segments`` is below 1.
    """

    backend = [TransformBackends.NUMPY]
    kind = "squares"
    reads_cells = False

    def __init__(self, n_segments: int = 50) -> None:
        if n_segments < 1:
            raise ValueError(f"n_segments ({n_segments}) must be at least 1.")
        self.n_segments = n_segments

    def __call__(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """Squares of a tile (3, H, W) uint8: (1, H, W) int32 in its container type, numbered from 0 row by row."""
        return convert_to_dst_type(self.cut(image).label_map, image, dtype=np.int32)[0]

    def settings(self) -> dict[str, Any]:
        """See :class:`~hmgdm_monai.transforms.entity_cutter.EntityCutter`."""
        return {"squares": {"n_segments": int(self.n_segments)}}

    def cut(self, image: NdarrayOrTensor, mpp: float | None = None, outlines: np.ndarray | None = None) -> CutTile:
        """See :class:`~hmgdm_monai.transforms.entity_cutter.EntityCutter`."""
        height, width = image_as_hwc(image).shape[:2]
        rows = min(height, self.n_segments, max(1, round(height / math.sqrt(height * width / self.n_segments))))
        columns = min(width, max(1, round(self.n_segments / rows)))
        down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
        labels = (down[:, None] * columns + across).astype(np.int32)
        return CutTile(labels[None], region_adjacency(labels))
