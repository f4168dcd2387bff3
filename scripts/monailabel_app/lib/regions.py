"""Which tiles of an image a request asks for, and reading them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hmgdm_monai.data.slides.slide import Slide
from hmgdm_monai.data.tiles.tiling import SINGLE_TILE, TileSpec, tile_locations
from hmgdm_monai.errors import InputError
from lib.work import stop_if_late

LARGEST_PX = 2**31  # of a place in a slide
LARGEST = 1e9  # of any other number


class Region(NamedTuple):
    """A rectangle in level-0 pixels; width and height 0: one tile."""

    x: float
    y: float
    width: float = 0.0
    height: float = 0.0


def region_of(request: Mapping[str, Any]) -> Region | None:
    """The region that ``location`` [x, y] and ``size`` [width, height] of a request name; None for the whole image.

    As in MONAI Label, zeros mean the whole image; its plugin for DSA says so by four times -1.

    Raises:
        InputError: one that is no pair of numbers, or a negative size.
    """
    pairs = []
    for name in ("location", "size"):
        value = request.get(name)
        pair = [0, 0] if value is None else value
        if (
            not isinstance(pair, list | tuple)
            or len(pair) != 2
            or not all(isinstance(part, int | float) and abs(part) <= LARGEST_PX for part in pair)
        ):
            raise InputError(f"{name} must be two numbers in level-0 pixels, not {value!r:.80}")
        pairs.append(pair)
    (x, y), (width, height) = pairs
    if max(x, y, width, height) <= 0:
        return None
    if width < 0 or height < 0:
        raise InputError(f"size must not be negative, but is {[width, height]}; give [width, height] in level-0 pixels")
    return Region(x, y, width, height)


def number(request: Mapping[str, Any], name: str, default: float | None) -> float | None:
    """A positive number of a request, or the default where there is none.

    Raises:
        InputError: it is none.
    """
    value = request.get(name, default)
    if value is default:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
        raise InputError(f"{name} must be a positive number, not {value!r:.80}")
    return value


def is_tile(slide: Slide, spec: TileSpec) -> bool:
    """Whether an image counts as one tile, as it does in training: plain, and at most 1.5 tiles a side."""
    return slide.plain and max(slide.dimensions_px) <= SINGLE_TILE * spec.size_px * slide.downsample_at(spec.mpp)


def tiles_in(slide: Slide, spec: TileSpec, region: Region | None) -> np.ndarray:
    """Tiles of the image's own grid with enough tissue, whose center lies in a region.

    The grid is that of training and inference, so that asking part by part gives the tiles of asking for the whole.

    Args:
        slide: the image.
        spec: size, scale and choice of tiles.
        region: None for all.

    Returns:
        (N, 2) upper left corners in level-0 pixels; N may be 0 in a region.

    Raises:
        InputError: no tissue in the whole image, or mpp unknown.
    """
    locations = tile_locations(slide, spec)
    if region is None:
        return locations
    middle = locations + spec.size_px * slide.downsample_at(spec.mpp) / 2 - (region.x, region.y)
    return locations[(middle >= 0).all(1) & (middle < (region.width, region.height)).all(1)]


def tiles_over(slide: Slide, spec: TileSpec, region: Region, most: int = 64) -> np.ndarray:
    """Tiles side by side that cover a region as well as whole tiles can, tissue or not; at least one.

    Their block has the region's center; a region without extent is the tile with that upper left corner.

    Args:
        slide: the image.
        spec: size and scale of tiles.
        region: what to cover.
        most: how many there may be.

    Returns:
        (N, 2) upper left corners in level-0 pixels.

    Raises:
        InputError: the region lies outside of the image, has more tiles, or mpp unknown.
    """
    width, height = slide.dimensions_px
    span = spec.size_px * slide.downsample_at(spec.mpp)
    right, bottom = region.x + (region.width or span), region.y + (region.height or span)
    if region.x >= width or region.y >= height or right <= 0 or bottom <= 0:
        raise InputError(
            f"{slide.path.name}: the region {list(region)} lies outside of the image of {width} x {height} px; "
            "give location and size in level-0 pixels"
        )

    ranges = (region.x, right), (region.y, bottom)
    counts = [max(1, round((last - first) / span)) for first, last in ranges]
    if math.prod(counts) > most:
        raise InputError(
            f"{slide.path.name}: the region has {math.prod(counts)} tiles, more than {most}; name a smaller one, or "
            "ask /infer/wsi_v2 for its tiles (setting region_tiles)"
        )
    starts = [
        (first + last - count * span) / 2 + span * np.arange(count)
        for (first, last), count in zip(ranges, counts, strict=True)
    ]
    x, y = np.meshgrid(*starts)
    return np.rint(np.stack((x.ravel(), y.ravel()), 1)).astype(np.int64)


def read_tiles(slide: Slide, spec: TileSpec, locations: np.ndarray, batch_tiles: int = 32) -> Iterator[np.ndarray]:
    """Batches (B, 3, S, S) uint8 of the tiles at ``locations`` (N, 2), in order."""
    for start in range(0, len(locations), batch_tiles):
        stop_if_late()
        part = slide.read_regions(locations[start : start + batch_tiles], spec.size_px, spec.mpp)
        yield part.transpose(0, 3, 1, 2)
