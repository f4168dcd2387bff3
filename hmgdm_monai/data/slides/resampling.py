"""Resample regions whose corners or pixels do not align with the pixels of a level."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image


def centered(corners: np.ndarray, width: int, height: int, scale: tuple[float, float]) -> np.ndarray:
    """First pixels (N, 2) of regions read without resampling; a `scale` other than 1 shifts both edges equally.

    Args:
        corners: (N, 2) corners (x, y) in level pixels, float.
        width: width of a region in output pixels.
        height: height of a region in output pixels.
        scale: level pixels per output pixel along x and y.
    """
    return np.rint(corners + (np.array(scale) - 1) * (width / 2, height / 2)).astype(np.int64)


def support(corners: np.ndarray, width: int, height: int, scale: tuple[float, float]) -> tuple[np.ndarray, int, int]:
    """Whole pixels that resampled regions need: the first pixel of each (N, 2), the width and the height.

    Args:
        corners: (N, 2) corners (x, y) in level pixels, float.
        width: width of a region in output pixels.
        height: height of a region in output pixels.
        scale: level pixels per output pixel along x and y.
    """
    margin = [math.ceil(s) + 2 for s in scale]  # radius of the filters below
    first = np.floor(corners).astype(np.int64) - margin
    across, down = (math.ceil(n * s) + 2 * m + 1 for n, s, m in zip((width, height), scale, margin, strict=True))
    return first, across, down


def resample(pixels: np.ndarray, corner: np.ndarray, width: int, height: int, scale: tuple[float, float]) -> np.ndarray:
    """Resample the box at `corner` (x, y) of `pixels` to (height, width, 3): area average down, bicubic up.

    Args:
        pixels: (h, w, 3) uint8 pixels of the level.
        corner: corner (x, y) of the box in `pixels`, float.
        width: width in output pixels.
        height: height in output pixels.
        scale: level pixels per output pixel along x and y.
    """
    x, y = (float(c) for c in corner)
    box = (x, y, x + width * scale[0], y + height * scale[1])
    how = Image.Resampling.HAMMING if max(scale) >= 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((width, height), how, box=box))
