"""Corrupted tiles, as from another laboratory, scanner or archive."""

from __future__ import annotations

import io

import numpy as np

CLEAN = "clean"
CORRUPTIONS = ("stain shift", "blur", "JPEG", "rotation")
BLUR_SIGMA_PX = 1.5
JPEG_QUALITY = 20
STAIN_FACTORS = (0.7, 1.3)  # range of the factors of hematoxylin and eosin, drawn per tile


def corrupt(image: np.ndarray, kind: str, number: int = 0) -> np.ndarray:
    """Return a corrupted tile (S, S, 3) uint8.

    Args:
        image: original tile.
        kind: "clean"; "stain shift": the densities of hematoxylin and eosin are each multiplied by a random factor,
            drawn from ``number``; "blur": Gaussian; "JPEG": compressed again; "rotation": a quarter turn.
        number: number of the tile.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind == CLEAN:
        return image
    if kind == "stain shift":
        from skimage.color import hed2rgb, rgb2hed

        hed = rgb2hed(image)
        hed[..., :2] *= np.random.default_rng(number).uniform(*STAIN_FACTORS, size=2)
        return np.rint(255 * hed2rgb(hed).clip(0, 1)).astype(np.uint8)
    if kind == "blur":
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(image, (BLUR_SIGMA_PX, BLUR_SIGMA_PX, 0))
    if kind == "JPEG":
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return np.asarray(Image.open(buffer))
    if kind == "rotation":
        return np.ascontiguousarray(np.rot90(image))
    raise ValueError(f"kind must be {CLEAN!r} or one of {CORRUPTIONS}, not {kind!r}")
