"""Write the demo slides and crop tiles from them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hmgdm_monai.data.files.whole_file import write_whole

TILE_PX = 256
LEVELS = 3
_JPEG_QUALITY = 90


def halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2 x 2 block: (H, W, 3) -> (H / 2, W / 2, 3), rounded."""
    wide = image.astype(np.uint16)
    rows = wide[0::2] + wide[1::2]
    return ((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


def write_pyramid(path: Path, image: NDArray[np.uint8], mpp: float) -> None:
    """Write a tiled JPEG pyramid that cuCIM, OpenSlide and tifffile can read, completely or not at all.

    Levels are top-level pages marked as reduced (cuCIM and OpenSlide do not find SubIFDs), each half of the previous.

    Args:
        path: the .tif file.
        image: (H, W, 3) RGB; H and W divisible by 2 ** (LEVELS - 1).
        mpp: microns per px of the image.
    """
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as tiff:
        for level in range(LEVELS):
            px_per_cm = 1e4 / (mpp * 2**level)
            tiff.write(
                image,
                photometric="rgb",  # of the given array; tifffile stores JPEG as YCbCr
                compression="jpeg",
                compressionargs={"level": _JPEG_QUALITY},
                tile=(TILE_PX, TILE_PX),
                resolution=(px_per_cm, px_per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                metadata=None,
                description="synthetic H&E, drawn by a program" if level == 0 else None,
            )
            image = halve(image)
    write_whole(path, content.getvalue())


def write_tile(path: Path, slide: NDArray[np.uint8], x_px: int, y_px: int, side_px: int) -> None:
    """Crop a square of `side_px` from level 0 of a slide and write it as a PNG of `TILE_PX`, whole or not at all.

    Args:
        path: PNG file to write.
        slide: (H, W, 3) uint8, level 0 of the slide.
        x_px: left edge in px.
        y_px: upper edge in px.
        side_px: side of the square in px.
    """
    crop = Image.fromarray(slide[y_px : y_px + side_px, x_px : x_px + side_px])
    content = io.BytesIO()
    crop.resize((TILE_PX, TILE_PX), Image.Resampling.BOX).save(content, format="PNG")
    write_whole(path, content.getvalue())
