"""Convert decoded pixels of any type to 8-bit RGB on a white background."""

from __future__ import annotations

import numpy as np


def to_rgb8(
    pixels: np.ndarray,
    *,
    white_is_zero: bool = False,
    colormap: np.ndarray | None = None,
    alpha: str | None = None,
) -> np.ndarray:
    """Convert decoded pixels to 8-bit RGB on a white background.

    Args:
        pixels: (h, w) or (h, w, C) bool, uint8 or uint16; C = 1 gray, 2 gray + extra, 3 RGB, 4 RGB + extra. 16-bit
            values are assumed to use the full range 0 to 65535.
        white_is_zero: whether 0 is white in gray pixels.
        colormap: (3, n) uint16 palette of single-channel pixels; None if there is no palette.
        alpha: meaning of the extra channel: "straight" or "premultiplied" alpha; None drops it.

    Returns:
        (h, w, 3) uint8.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if colormap is not None:
        pixels = np.moveaxis(colormap[:, pixels[..., 0]], 0, -1)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    n_colors = 3 if pixels.shape[2] >= 3 else 1
    colors, extra = pixels[..., :n_colors], pixels[..., n_colors : n_colors + 1]
    if white_is_zero:
        colors = 255 - colors
    if alpha is not None and extra.shape[2]:
        weight = extra.astype(np.float32) / 255.0
        inked = colors.astype(np.float32) * (weight if alpha == "straight" else 1.0)
        colors = np.clip(np.rint(inked + 255.0 * (1.0 - weight)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colors, (*colors.shape[:2], 3)))
