"""Where the tissue is on a thumbnail."""

from __future__ import annotations

import numpy as np
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

# Otsu finds a cut even where there is only glass or only tissue; it is believed within these bounds of saturation.
# Glass, tinted and compressed, stays below 0.05; pale eosin starts at 0.1.
SATURATION_BOUNDS = (0.05, 0.12)
GRAY_BOUNDS = (0.7, 0.9)  # the same for the brightness of images without color
BLACK = 0.06  # brightness below which a pixel is an artifact: unscanned fill, marker, edge of the slide
SMALLEST_SHARE = 2e-4  # of the thumbnail's area; smaller specks and holes are dust


def tissue_mask(thumbnail: np.ndarray) -> np.ndarray:
    """Mark tissue by its color: saturation, smoothed, above Otsu's threshold within bounds.

    Where the whole image is gray, darkness stands in for saturation. Black is no tissue.

    Args:
        thumbnail: (h, w, 3) uint8 RGB.

    Returns:
        (h, w) bool; all False where nothing but glass is seen.

    Raises:
        ValueError: another shape or type.
    """
    if thumbnail.ndim != 3 or thumbnail.shape[2] != 3 or thumbnail.dtype != np.uint8:
        raise ValueError(f"thumbnail must be (h, w, 3) uint8, not {thumbnail.shape} {thumbnail.dtype}")
    smooth = gaussian(thumbnail.astype(np.float32) / 255, sigma=1, channel_axis=2)
    brightness = smooth.max(axis=2)
    saturation = 1 - smooth.min(axis=2) / np.maximum(brightness, BLACK)
    lit = brightness > BLACK
    if not lit.any():
        return np.zeros(lit.shape, dtype=bool)
    if np.ptp(thumbnail.astype(np.int16), axis=2).max() <= 8:
        mask = brightness < np.clip(threshold_otsu(brightness[lit]), *GRAY_BOUNDS)
    else:
        mask = saturation > np.clip(threshold_otsu(saturation[lit]), *SATURATION_BOUNDS)
    mask &= lit
    smallest = max(1, round(SMALLEST_SHARE * mask.size))
    return remove_small_holes(remove_small_objects(mask, max_size=smallest), max_size=smallest)
