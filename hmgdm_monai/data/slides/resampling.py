"""Regions between the pixels of a level: which whole pixels they draw on, and how these become theirs."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image


def centered(corners: np.ndarray, width: int, height: int, scale: tuple[float, float]) -> np.ndarray:
    """First pixels (N, 2) of regions read as they are, so that what `scale` lacks of 1 is shared by both edges."""
    return np.rint(corners + (np.array(scale) - 1) * (width / 2, height / 2)).astype(np.int64)


def support(corners: np.ndarray, width: int, height: int, scale: tuple[float, float]) -> tuple[np.ndarray, int, int]:
    """Whole pixels that resampled regions draw on: the first of each (N, 2), and how many across and down."""
    margin = [math.ceil(s) + 2 for s in scale]  # reach of the filters below
    first = np.floor(corners).astype(np.int64) - margin
    across, down = (math.ceil(n * s) + 2 * m + 1 for n, s, m in zip((width, height), scale, margin, strict=True))
    return first, across, down


def resample(pixels: np.ndarray, corner: np.ndarray, width: int, height: int, scale: tuple[float, float]) -> np.ndarray:
    """(height, width, 3) of the box at `corner` (x, y) in `pixels`: weighted area average down, bicubic up."""
    x, y = (float(c) for c in corner)
    box = (x, y, x + width * scale[0], y + height * scale[1])
    how = Image.Resampling.HAMMING if max(scale) >= 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((width, height), how, box=box))
