"""Read tile coordinates from HDF5 files of CLAM, TRIDENT and our own embeddings."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from hmgdm_monai.data.files.geojson_reading import FARTHEST_PX
from hmgdm_monai.data.files.hdf5_reading import checked_dataset, opened_hdf5, read_attributes, read_numbers
from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class TileCoords:
    """Positions and size of the tiles of a slide.

    Attributes:
        locations_px: (M, 2) int64, (x, y) of the upper left corners in level-0 pixels, M >= 1.
        side_px: side of a tile in level-0 pixels.
        size_px: side of a tile in its own pixels; None if the file does not contain it.
    """

    locations_px: np.ndarray
    side_px: float
    size_px: int | None


def read_coords(path: str | os.PathLike[str]) -> TileCoords:
    """Read a coordinates file.

    The file holds ``coords`` (M, 2), level-0 (x, y) of upper left corners. The side of the tiles follows from
    attributes of that dataset (or of the file); the first of these that exists is used:

    - ``patch_size_level0``: TRIDENT.
    - ``patch_size``, ``level0_magnification`` and ``target_magnification``: older files of TRIDENT.
    - ``patch_size`` and ``downsample`` (of ``patch_level``; one number or x and y), or ``patch_level`` 0: CLAM. Its
      older files may have a further factor, ``custom_downsample``.
    - ``tile_size_level0``: embeddings that inference.json wrote.

    Duplicate positions, for example from overlapping contours in CLAM, are removed.

    Args:
        path: path of the HDF5 file.

    Raises:
        InputError: the file does not exist or is not HDF5, has no valid coords, or does not determine the side.
    """
    with opened_hdf5(path, "file of coordinates", "write the coordinates again") as file:
        found = checked_dataset(file, "coords")
        if found is None:
            raise InputError(f"{path}: holds no data set `coords`; existing data sets are {', '.join(file) or 'none'}")
        values = read_numbers(found, "coords")
        attrs = read_attributes(file) | read_attributes(found)
    return TileCoords(_locations(values, path), _side_px(attrs, path), _size_px(attrs))


def _locations(values: Any, path: str | os.PathLike[str]) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 3 and len(values) == 1:  # some versions write a leading axis
        values = values[0]
    if values.ndim != 2 or values.shape[1] != 2 or values.dtype.kind not in "iuf":
        raise InputError(f"{path}: coords must be one x, y for each tile, not {values.dtype} of shape {values.shape}")
    if len(values) == 0:
        raise InputError(f"{path}: holds no tile; remove the slide, or tile it again")
    if not np.isfinite(values).all() or np.abs(values.astype(np.float64)).max() > FARTHEST_PX:
        raise InputError(f"{path}: some of its coords are not finite or too large; write the coordinates again")
    locations = np.rint(values).astype(np.int64)
    return locations[np.sort(np.unique(locations, axis=0, return_index=True)[1])]


def _side_px(attrs: dict[str, Any], path: str | os.PathLike[str]) -> float:
    def number(name: str) -> float | None:
        value = np.ravel(attrs[name]) if name in attrs else np.empty(0)
        if value.size == 0 or value.dtype.kind not in "iuf":
            return None
        if not np.isfinite(value).all():
            return None
        if not np.allclose(value, value[0], rtol=0.01):  # downsamples of x and of y
            raise InputError(f"{path}: tiles are not square, {name} is {value.tolist()}; tile the slide again")
        return float(value.mean())

    size, own = number("patch_size"), number("tile_size_level0")
    source, target = number("level0_magnification"), number("target_magnification")
    downsample = number("downsample") or (1.0 if number("patch_level") == 0 else None)
    if (side := number("patch_size_level0")) is None:
        if size is not None and source is not None and target is not None and target > 0:
            side = size * source / target
        elif size is not None and downsample is not None:
            side = size * downsample * (number("custom_downsample") or 1.0)
        else:
            side = own
    if side is None or not (math.isfinite(side) and side > 0):
        raise InputError(
            f"{path}: does not contain the size of its tiles; give coords the attribute patch_size_level0, the side in "
            "level-0 pixels"
        )
    return side


def _size_px(attrs: dict[str, Any]) -> int | None:
    """Side of a tile in its own pixels."""
    value = np.ravel(attrs.get("patch_size", attrs.get("tile_size_px", [])))
    return int(value[0]) if value.size and value.dtype.kind in "iuf" and value[0] >= 1 else None
