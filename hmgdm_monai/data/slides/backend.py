"""Common interface of the slide decoding libraries: rectangles of one pyramid level as 8-bit RGB."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hmgdm_monai.data.slides.scale import UNKNOWN, Mpp


class SlideBackend:
    """One open file. A handle belongs to the process that opened it; `Slide` takes care of this.

    Args:
        path: path of the file.
        max_image_px: maximum number of pixels decoded at once.

    Attributes:
        name: name of the backend in `open_slide(backend=...)`.
        level_sizes_px: (width, height) of each level, finest first.
        mpp_xy: microns per pixel of level 0 along x and y, if the library reports them.
    """

    name: str
    level_sizes_px: list[tuple[int, int]]
    mpp_xy: Mpp = UNKNOWN

    def __init__(self, path: Path, max_image_px: int) -> None:
        raise NotImplementedError

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """Read a rectangle that lies completely inside the level, in pixels of the level: (height, width, 3) uint8.

        Args:
            level: level of the pyramid, from 0.
            x_px: left edge in pixels of the level.
            y_px: upper edge in pixels of the level.
            width_px: width in pixels of the level.
            height_px: height in pixels of the level.
        """
        raise NotImplementedError

    def read_many(
        self, level: int, xy_px: np.ndarray, width_px: int, height_px: int, num_workers: int
    ) -> Iterator[np.ndarray]:
        """Read rectangles of one size at xy (N, 2), in order; with `num_workers` > 1 in that many threads.

        Args:
            level: level of the pyramid, from 0.
            xy_px: (N, 2) int64, upper left corners in pixels of the level.
            width_px: width in pixels of the level.
            height_px: height in pixels of the level.
            num_workers: number of decoding threads.
        """
        if num_workers <= 1:
            for x, y in xy_px.tolist():
                yield self.read(level, x, y, width_px, height_px)
            return
        # A new pool for each call: threads do not survive a fork, and a pool of the parent would block the child.
        with ThreadPoolExecutor(num_workers) as pool:
            for start in range(0, len(xy_px), 16 * num_workers):  # limits the number of decoded tiles in memory
                part = xy_px[start : start + 16 * num_workers].tolist()
                yield from pool.map(lambda xy: self.read(level, xy[0], xy[1], width_px, height_px), part)

    def close(self) -> None:
        """Close the file."""
