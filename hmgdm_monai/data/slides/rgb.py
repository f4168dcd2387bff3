"""Any decoded pixels as RGB of 8 bits over white."""

from __future__ import annotations

import numpy as np


def to_rgb8(
    pixels: np.ndarray,
    *,
    white_is_zero: bool = False,
    colormap: np.ndarray | None = None,
    alpha: str | None = None,
) -> np.ndarray:
    """Any decoded pixels to RGB, 8 bit, over white.

    Args:
        pixels: (h, w) or (h, w, C) bool, uint8 or uint16; C = 1 gray, 2 gray + extra, 3 RGB, 4 RGB + extra. 16 bits are
            taken to span the full range 0 to 65535.
        white_is_zero: gray whose 0 is white.
        colormap: (3, n) uint16 palette of single-channel pixels.
        alpha: what the extra channel means: "straight" or "premultiplied" alpha; None: it is dropped.

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
