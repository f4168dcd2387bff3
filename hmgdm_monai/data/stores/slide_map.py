"""Read and write maps of whole slides in HDF5: values in superpixels, as the figures and exports show them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hmgdm_monai.data.files.whole_file import whole_hdf5
from hmgdm_monai.data.stores.map_canvas import MapCanvas
from hmgdm_monai.errors import InputError

CHUNK_PX = 256


@dataclass(frozen=True)
class SlideMap:
    """A map of a slide, read on demand.

    Attributes:
        names: Q names of the quantities.
        values: (Q, H, W) float32 data set of the open file; NaN where there is no tissue.
        pixel_px: side of a map pixel in level-0 pixels; the map starts at the slide's upper left corner.
        mpp: microns per level-0 pixel.
        spans: name -> lowest and highest value for the colors of this slide.
        arrays: further arrays by name.
    """

    names: tuple[str, ...]
    values: Any
    pixel_px: float
    mpp: float
    spans: Mapping[str, tuple[float, float]]
    arrays: Mapping[str, np.ndarray]

    def plane(self, name: str, shrink: int = 1) -> np.ndarray:
        """Values (H / shrink, W / shrink) of one quantity, rounded up; each the mean of ``shrink`` x ``shrink`` pixels.

        Args:
            name: one of ``names``.
            shrink: whole number.
        """
        number, height = self.names.index(name), self.values.shape[1]
        step = shrink * max(1, CHUNK_PX // shrink)
        bands = [shrunk(self.values[number, top : top + step], shrink) for top in range(0, height, step)]
        return np.concatenate(bands)

    def block(self, top: int, left: int, side: int, shrink: int = 1) -> np.ndarray:
        """Values (Q, h, w) of all quantities in a square of ``side`` map pixels, averaged like :meth:`plane`.

        Args:
            top: first row, in map pixels.
            left: first column, in map pixels.
            side: side of the square, in map pixels; it ends at the border of the map.
            shrink: whole number that divides ``side``.
        """
        planes = self.values[:, top : top + side, left : left + side]
        return np.stack([shrunk(plane, shrink) for plane in planes])


def shrunk(values: np.ndarray, factor: int) -> np.ndarray:
    """Mean of each ``factor`` x ``factor`` block of (H, W), without NaN; blocks at the border may be smaller.

    Args:
        values: (H, W) float.
        factor: side of a block.
    """
    if factor == 1:
        return values
    height, width = (-(-side // factor) * factor for side in values.shape)
    padded = np.full((height, width), np.nan, np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(height // factor, factor, width // factor, factor)
    counts = np.isfinite(blocks).sum((1, 3))
    sums = np.nansum(blocks, (1, 3), dtype=np.float64)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).astype(np.float32)


def write_slide_map(
    path: Path,
    canvas: MapCanvas,
    names: Sequence[str],
    mpp: float,
    spans: Mapping[str, tuple[float, float]],
    arrays: Mapping[str, np.ndarray],
    key: str,
) -> None:
    """Write a map from a canvas, completely or not at all, in bands.

    Args:
        path: file to write.
        canvas: the painted canvas.
        names: Q names of its quantities.
        mpp: microns per level-0 pixel.
        spans: see :class:`SlideMap`.
        arrays: further arrays by name.
        key: digest of everything that determines the map.

    Raises:
        InputError: the disk is full.
    """
    width, height = canvas.size_px
    with whole_hdf5(path) as (file, check):
        chunks = (1, min(CHUNK_PX, height), min(CHUNK_PX, width))
        values = file.create_dataset("values", (len(names), height, width), "f4", chunks=chunks, compression="gzip")
        for top in range(0, height, CHUNK_PX):
            values[:, top : top + CHUNK_PX] = canvas.rows(top, min(height, top + CHUNK_PX))
            check()
        group = file.create_group("arrays")
        for name, array in arrays.items():
            group.create_dataset(name, data=array, compression="gzip" if array.ndim > 2 else None)
        file.attrs.update(
            {
                "names": json.dumps(list(names)),
                "spans": json.dumps({name: list(span) for name, span in spans.items()}),
                "pixel_px": canvas.pixel_px,
                "mpp": mpp,
                "key": key,
            }
        )


@contextmanager
def opened_slide_map(path: Path) -> Iterator[SlideMap]:
    """Open a map for reading.

    Args:
        path: file of :func:`write_slide_map`.

    Raises:
        InputError: the file is missing, damaged or of another kind.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
            names, spans = (json.loads(file.attrs[name]) for name in ("names", "spans"))
            arrays = {name: found[()] for name, found in file["arrays"].items()}
            values, pixel_px, mpp = file["values"], float(file.attrs["pixel_px"]), float(file.attrs["mpp"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: no map of a slide, or damaged ({error}); remove it and run again") from error
        ranges = {name: (float(low), float(high)) for name, (low, high) in spans.items()}
        yield SlideMap(tuple(names), values, pixel_px, mpp, ranges, arrays)


def map_key(path: Path) -> str | None:
    """Return the key of a map; None if there is no complete one."""
    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs["key"])
    except (OSError, KeyError):
        return None
