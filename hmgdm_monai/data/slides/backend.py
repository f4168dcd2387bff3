"""What every library that decodes slides is put behind: whole rectangles of one pyramid level, RGB, 8 bit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hmgdm_monai.data.slides.scale import UNKNOWN, Mpp


class SlideBackend:
    """One open file. Handles belong to the process that opened them; `Slide` sees to that.

    Args:
        path: the file.
        max_image_px: most pixels that may be decoded at once.

    Attributes:
        name: how `open_slide(backend=...)` calls it.
        level_sizes_px: (width, height) of each level, finest first.
        mpp_xy: microns per pixel of level 0 along x and y, where the library knows them.
    """

    name: str
    level_sizes_px: list[tuple[int, int]]
    mpp_xy: Mpp = UNKNOWN

    def __init__(self, path: Path, max_image_px: int) -> None:
        raise NotImplementedError

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """(height, width, 3) uint8 of a rectangle that lies wholly in the level; x, y in the level's own pixels."""
        raise NotImplementedError

    def read_many(
        self, level: int, xy_px: np.ndarray, width_px: int, height_px: int, num_workers: int
    ) -> Iterator[np.ndarray]:
        """Rectangles of one size at xy (N, 2), in order; with `num_workers` > 1 decoded by that many threads."""
        if num_workers <= 1:
            for x, y in xy_px.tolist():
                yield self.read(level, x, y, width_px, height_px)
            return
        # The pool lives for one call: threads do not survive a fork, and a pool kept from the parent hangs the child.
        with ThreadPoolExecutor(num_workers) as pool:
            for start in range(0, len(xy_px), 16 * num_workers):  # decoded tiles in waiting stay few
                part = xy_px[start : start + 16 * num_workers].tolist()
                yield from pool.map(lambda xy: self.read(level, xy[0], xy[1], width_px, height_px), part)

    def close(self) -> None:
        """Give the file back."""
