"""Estimate the color of the glass on a thumbnail, so that tinted glass is not taken for tissue."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

WHITE = 0.99  # brighter pixels are fill of the scanner around the scanned area, and say nothing about the glass
BRIGHTEST_SHARE = 0.9  # glass is at least this bright, relative to the 90th percentile of the pixels that are not fill
FLAT_RANGE = 0.04  # largest range of values within FLAT_PX around a pixel of glass
FLAT_PX = 5
STAINED = 0.01  # green is lower than red and blue by more than this: a stain, since H&E absorbs green most
MOST_TINT = 0.35  # a saturation above it is no glass
LEAST_TINT = 0.03  # a saturation below it is white glass, which is not corrected
SMALLEST_SHARE = 0.01  # of the pixels that are not fill; less glass is no sample
_STEPS = 32  # steps of the histogram per channel


def glass_color(image: np.ndarray) -> np.ndarray:
    """Estimate the color of the glass: the most frequent color among bright, flat and unstained pixels.

    H&E absorbs green most, glass and mounting medium that have yellowed absorb blue. So a color with the least light in
    green is a stain and never glass, and tissue that fills the image is not taken for glass.

    Args:
        image: (h, w, 3) float in 0..1, RGB, smoothed.

    Returns:
        (3,) RGB in 0..1, scaled to a maximum of 1; (1, 1, 1) if the glass is white or there is none.
    """
    white = np.ones(3)
    fill = image.min(axis=2) > WHITE
    scanned = int((~fill).sum())
    if scanned == 0:
        return white
    brightness = image.max(axis=2)
    tint = 1 - image.min(axis=2) / np.maximum(brightness, 1e-6)
    flat = np.ones(fill.shape, dtype=bool)
    for channel in np.moveaxis(image, 2, 0):
        flat &= maximum_filter(channel, FLAT_PX) - minimum_filter(channel, FLAT_PX) <= FLAT_RANGE
    stained = image[..., 1] < np.minimum(image[..., 0], image[..., 2]) - STAINED
    bright = brightness >= BRIGHTEST_SHARE * np.percentile(brightness[~fill], 90)
    glass = image[flat & bright & ~stained & ~fill & (tint < MOST_TINT)]
    if len(glass) < max(1, SMALLEST_SHARE * scanned):
        return white
    cells = np.minimum((glass * _STEPS).astype(np.int64), _STEPS - 1) @ np.array([_STEPS**2, _STEPS, 1])
    color = np.median(glass[cells == np.bincount(cells).argmax()], axis=0)
    color = color / color.max()
    return color if 1 - color.min() >= LEAST_TINT else white
