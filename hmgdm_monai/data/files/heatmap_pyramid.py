"""Write a colored map of a slide as a tiled OME-TIFF pyramid."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from hmgdm_monai.data.files.whole_file import write_whole

TILE_PX = 256
WHITE = 255


def write_heatmap_pyramid(
    path: Path | str,
    read_level: Callable[[int], np.ndarray],
    color: Callable[[np.ndarray], np.ndarray],
    size_px: tuple[int, int],
    mpp: float,
    name: str,
) -> Path:
    """Write a pyramid whose first level is the map, and each further level half the size, down to one tile.

    The file is an RGB image with the pixel size in um, so viewers that know the slide's pixel size can lay one over the
    other: both start at the same corner. Readers of OME-TIFF (QuPath, Bio-Formats, tifffile) find all levels, which are
    SubIFDs; cuCIM finds the first. Compression is lossless.

    Args:
        path: file to write, ending in ``.ome.tif``.
        read_level: function of the downsampling (1, 2, 4, ...) that gives the values (h, w) of this level; NaN becomes
            white.
        color: function from values (N,) to RGB colors (N, 3) uint8.
        size_px: (width, height) of the first level.
        mpp: microns per pixel of the first level.
        name: name of the image.

    Returns:
        Path of the file.

    Raises:
        InputError: the disk is full.
    """
    factors = [1]
    while max(size_px) > TILE_PX * factors[-1]:
        factors.append(2 * factors[-1])
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True, bigtiff=False) as tiff:
        for factor in factors:
            values = read_level(factor)
            first = factor == 1
            px_per_cm = 1e4 / (mpp * factor)
            about = {"axes": "YXS", "Name": name, "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            about |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
            tiff.write(
                _tiles(values, color),
                shape=(*values.shape, 3),
                dtype=np.uint8,
                photometric="rgb",
                tile=(TILE_PX, TILE_PX),
                # cuCIM reads LZW without a predictor.
                compression="lzw",
                predictor=False,
                resolution=(px_per_cm, px_per_cm),
                resolutionunit="CENTIMETER",
                subifds=len(factors) - 1 if first else None,
                subfiletype=0 if first else 1,
                metadata=about if first else None,
            )
    return write_whole(path, buffer.getvalue())


def _tiles(values: np.ndarray, color: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the colored tiles row by row, completed with white at the border."""
    for top in range(0, values.shape[0], TILE_PX):
        for left in range(0, values.shape[1], TILE_PX):
            part = values[top : top + TILE_PX, left : left + TILE_PX]
            tile = np.full((TILE_PX, TILE_PX, 3), WHITE, np.uint8)
            colored = color(part.ravel()).reshape(*part.shape, 3)
            tile[: part.shape[0], : part.shape[1]] = np.where(np.isfinite(part)[..., None], colored, WHITE)
            yield tile
