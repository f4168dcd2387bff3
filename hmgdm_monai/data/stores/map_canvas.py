"""Paint values of superpixels of tiles onto a map of a whole slide, in limited memory."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from hmgdm_monai.errors import InputError


class MapCanvas:
    """A map of a slide for Q quantities, whose pixels become the mean of the tiles that were painted over them.

    A pixel of the map takes the value of the superpixel under its center. The sums lie in temporary files that have no
    name, so memory does not grow with the slide: the system writes pages that are not in use to the disk.

    Args:
        quantities: number Q of quantities.
        slide_px: (width, height) of the slide in level-0 pixels.
        pixel_px: side of a map pixel in level-0 pixels; the map starts at the slide's upper left corner.
        folder: existing folder of the temporary files, with room for 4 (Q + 1) bytes per pixel.

    Attributes:
        size_px: (width, height) of the map in its own pixels.

    Raises:
        InputError: the disk is full.

    Example:
        >>> import numpy as np
        >>> with MapCanvas(1, (8, 4), 2.0, ".") as canvas:
        ...     canvas.paint(np.array([[0, 1], [0, 1]]), np.array([[0.5, 3.0]]), (0, 0), 2.0)
        ...     canvas.rows(0, 1)[0].tolist()
        [[0.5, 3.0, nan, nan]]
    """

    def __init__(self, quantities: int, slide_px: Sequence[int], pixel_px: float, folder: Path | str) -> None:
        self.pixel_px = float(pixel_px)
        self.size_px = tuple(max(1, math.ceil(side / self.pixel_px - 1e-6)) for side in slide_px)
        width, height = self.size_px
        self._files = [tempfile.TemporaryFile(dir=folder) for _ in range(2)]
        try:
            shape = (quantities, height, width)
            self._sums = np.memmap(self._files[0], np.float32, "w+", shape=shape)
            self._counts = np.memmap(self._files[1], np.uint16, "w+", shape=(height, width))
        except OSError as error:
            self.close()
            raise InputError(f"{folder}: no room for a map of {width} x {height} px ({error.strerror})") from error

    def __enter__(self) -> MapCanvas:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the room on the disk back."""
        for file in self._files:
            file.close()

    def paint(self, labels: np.ndarray, values: np.ndarray, origin_px: Sequence[float], tile_pixel_px: float) -> None:
        """Paint the superpixels of a tile.

        Args:
            labels: (S, S) superpixel of each pixel of the tile, 0 to N - 1; -1 paints nothing.
            values: (Q, N) value of each superpixel; one with a value that is not finite paints nothing.
            origin_px: upper left corner of the tile, (x, y) in level-0 pixels.
            tile_pixel_px: side of a pixel of the tile in level-0 pixels.
        """
        x, columns = self._under(origin_px[0], labels.shape[1], tile_pixel_px, self.size_px[0])
        y, rows = self._under(origin_px[1], labels.shape[0], tile_pixel_px, self.size_px[1])
        if len(columns) == 0 or len(rows) == 0:
            return
        under = labels[rows[:, None], columns[None, :]]
        shown = (under >= 0) & np.isfinite(values).all(0)[under]
        window = np.s_[y : y + len(rows), x : x + len(columns)]
        painted = np.asarray(values, np.float32)[:, under]
        self._sums[(slice(None), *window)] += np.where(shown, painted, 0)
        self._counts[window] += shown

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Values (Q, bottom - top, W) of some rows of the map, float32; NaN where nothing was painted."""
        counts = self._counts[top:bottom]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(counts > 0, self._sums[:, top:bottom] / counts, np.float32(np.nan)))

    def _under(self, origin_px: float, side: int, tile_pixel_px: float, limit: int) -> tuple[int, np.ndarray]:
        """First map pixel whose center a tile covers along one axis, and the tile's pixel under each center."""
        first = max(0, math.ceil(origin_px / self.pixel_px - 0.5))
        last = min(limit, math.ceil((origin_px + side * tile_pixel_px) / self.pixel_px - 0.5))
        centers = (np.arange(first, last) + 0.5) * self.pixel_px
        return first, np.clip(((centers - origin_px) / tile_pixel_px).astype(np.int64), 0, side - 1)
