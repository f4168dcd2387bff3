"""Which superpixels of a tile show tissue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TissueMap:
    """Where a slide shows tissue.

    Attributes:
        mask: (h, w) bool.
        pixel_px: side of a pixel of the mask in level-0 pixels.

    Example:
        >>> import numpy as np
        >>> left = TissueMap(np.array([[True, False]]), 8.0)
        >>> left.entities(np.array([[0, 0, 1, 1]] * 4), (0, 0), 4.0, 2).tolist()
        [True, False]
    """

    mask: np.ndarray
    pixel_px: float

    def entities(self, labels: np.ndarray, origin_px: Sequence[float], tile_pixel_px: float, count: int) -> np.ndarray:
        """Return which entities (N,) bool of a tile are tissue in at least half of their pixels.

        Args:
            labels: (S, S) entity of each pixel; -1 for none.
            origin_px: upper left corner of the tile, (x, y) in level-0 pixels.
            tile_pixel_px: side of a pixel of the tile in level-0 pixels.
            count: number N of entities.
        """
        steps = (np.arange(len(labels)) + 0.5) * tile_pixel_px
        height, width = self.mask.shape
        columns, rows = (((origin + steps) / self.pixel_px).astype(np.int64) for origin in origin_px)
        within = (rows < height)[:, None] & (columns < width)
        shown = within & self.mask[np.minimum(rows, height - 1)[:, None], np.minimum(columns, width - 1)]
        own = labels >= 0
        total = np.bincount(labels[own], minlength=count)
        return np.bincount(labels[own], shown[own], minlength=count) >= 0.5 * total
