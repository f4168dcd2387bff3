"""Detect tissue on a thumbnail."""

from __future__ import annotations

import numpy as np
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from hmgdm_monai.data.tiles.glass import glass_color

# Otsu returns a threshold even for only glass or only tissue, so it is limited to this range of saturation. Tinted and
# compressed glass stays below 0.05; pale eosin starts at 0.1.
SATURATION_BOUNDS = (0.05, 0.12)
GRAY_BOUNDS = (0.7, 0.9)  # the same for the brightness of gray images
BLACK = 0.06  # pixels below this brightness are artifacts: unscanned fill, marker, edge of the slide
DARK = 0.3  # below this brightness ...
DARK_CHROMA = 0.08  # ... pixels with less color (largest minus smallest channel) are dark fill and no stained tissue
SMALLEST_SHARE = 2e-4  # of the thumbnail's area; smaller specks and holes are removed as dust


def tissue_mask(thumbnail: np.ndarray) -> np.ndarray:
    """Mark tissue by its color: smoothed saturation above Otsu's threshold, limited to a fixed range.

    Colors are relative to the color of the glass (:func:`~hmgdm_monai.data.tiles.glass.glass_color`), so yellowed glass
    is not tissue. If the whole image is gray, darkness is used instead of saturation. Black is not tissue, and neither
    is dark fill with little color.

    Args:
        thumbnail: (h, w, 3) uint8 RGB.

    Returns:
        (h, w) bool; all False if there is only glass.

    Raises:
        ValueError: the thumbnail has another shape or type.
    """
    if thumbnail.ndim != 3 or thumbnail.shape[2] != 3 or thumbnail.dtype != np.uint8:
        raise ValueError(f"thumbnail must be (h, w, 3) uint8, not {thumbnail.shape} {thumbnail.dtype}")
    smooth = gaussian(thumbnail.astype(np.float32) / 255, sigma=1, channel_axis=2)
    brightness = smooth.max(axis=2)
    dark = (brightness < DARK) & (brightness - smooth.min(axis=2) < DARK_CHROMA)
    lit = (brightness > BLACK) & ~dark
    balanced = np.minimum(smooth / glass_color(smooth).astype(np.float32), 1)
    saturation = 1 - balanced.min(axis=2) / np.maximum(balanced.max(axis=2), BLACK)
    if not lit.any():
        return np.zeros(lit.shape, dtype=bool)
    if np.ptp(thumbnail.astype(np.int16), axis=2).max() <= 8:
        mask = brightness < np.clip(threshold_otsu(brightness[lit]), *GRAY_BOUNDS)
    else:
        mask = saturation > np.clip(threshold_otsu(saturation[lit]), *SATURATION_BOUNDS)
    mask &= lit
    smallest = max(1, round(SMALLEST_SHARE * mask.size))
    return remove_small_holes(remove_small_objects(mask, max_size=smallest), max_size=smallest)
