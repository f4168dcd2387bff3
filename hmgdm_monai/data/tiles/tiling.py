"""Select the tiles of a slide by a grid and a tissue mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.data.slides.slide import Slide
from hmgdm_monai.data.tiles.tissue import tissue_mask
from hmgdm_monai.errors import InputError

MASK_PX_PER_TILE = 32  # tissue is detected on a thumbnail in which a tile has about this side,
MASK_SIDE_PX = (512, 4096)  # with the longer side of the thumbnail limited to this range
MAX_TILES = 10_000_000  # per slide; more tiles result from a wrong scale and would not fit into memory
SINGLE_TILE = 1.5  # a plain image is itself a tile if its sides are at most this many tiles


@dataclass(frozen=True)
class TileSpec:
    """Size, scale and selection of tiles.

    Attributes:
        size_px: side of a tile in its own pixels.
        mpp: microns per pixel of the tile.
        overlap_px: pixels that neighboring tiles share.
        min_tissue: minimum share of a tile that is tissue, 0 to 1; 0 keeps every tile.

    Raises:
        InputError: a value is out of range.
    """

    size_px: int = 256
    mpp: float = 1.0
    overlap_px: int = 0
    min_tissue: float = 0.5

    def __post_init__(self) -> None:
        for name in ("size_px", "overlap_px"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int | np.integer):
                raise InputError(f"tiles: {name} must be a whole number of pixels, not {getattr(self, name)!r}")
        if self.size_px < 1:
            raise InputError(f"tiles: size_px must be at least 1, not {self.size_px}")
        if not 0 <= self.overlap_px < self.size_px:
            raise InputError(
                f"tiles: overlap_px must lie in 0..{self.size_px - 1} (below size_px), not {self.overlap_px}"
            )
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise InputError(f"tiles: mpp must be a positive number of microns per pixel, not {self.mpp}")
        if not 0 <= self.min_tissue <= 1:
            raise InputError(f"tiles: min_tissue must lie in 0..1, not {self.min_tissue}")


def tile_locations(slide: Slide, spec: TileSpec) -> np.ndarray:
    """Top-left corners of the tiles with enough tissue, row by row.

    The grid starts at (0, 0) and covers the slide. Tiles at the right and lower border may extend beyond the slide;
    these parts are white and count as glass. A plain image (:attr:`Slide.plain`) with sides of at most 1.5 tiles is
    one tile at (0, 0), whatever it shows, cropped or padded with white to the tile size. If the mpp of a PNG or JPEG
    is unknown, `spec.mpp` is assumed.

    Args:
        slide: the slide.
        spec: size, scale and selection of tiles.

    Returns:
        (N, 2) int64, (x, y) in level-0 pixels, N >= 1.

    Raises:
        InputError: there is no tissue, or mpp is unknown or so different from the tile's that it gives millions of
            tiles.
    """
    per_px = slide.downsample_at(spec.mpp)  # level-0 pixels per tile pixel
    span, step = spec.size_px * per_px, (spec.size_px - spec.overlap_px) * per_px
    width, height = slide.dimensions_px
    if slide.plain and max(width, height) <= SINGLE_TILE * span:
        return np.zeros((1, 2), dtype=np.int64)

    # The last full tile may end up to half a tile pixel before the border; no further tile is added for that.
    counts = [max(1, math.ceil((side - span - per_px / 2) / step) + 1) for side in (width, height)]
    if math.prod(counts) > MAX_TILES:
        raise InputError(
            f"{slide.path}: {width} x {height} px at {slide.mpp} um would make {math.prod(counts):.2g} tiles of "
            f"{spec.size_px} px at {spec.mpp} um; check both scales"
        )
    columns, rows = (np.rint(np.arange(n) * step).astype(np.int64) for n in counts)
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    locations = np.stack([x, y], axis=1)
    if spec.min_tissue > 0:
        mask, downsample = slide_tissue(slide, spec)
        share = share_in_mask(mask, x / downsample, y / downsample, span / downsample)
        locations = locations[share >= spec.min_tissue]
    if len(locations) == 0:
        what = f"no tile of {spec.size_px} px at {spec.mpp} um has {spec.min_tissue:.0%} of it"
        raise InputError(f"{slide.path}: no tissue found ({what}); check the slide or lower min_tissue")
    return locations


def slide_tissue(slide: Slide, spec: TileSpec) -> tuple[np.ndarray, float]:
    """Tissue mask (h, w) bool of a slide, and the level-0 pixels per mask pixel.

    Args:
        slide: the slide.
        spec: size and scale of the tiles, on which the size of the mask depends.

    Raises:
        InputError: mpp is unknown.
    """
    span = spec.size_px * slide.downsample_at(spec.mpp)
    side = round(np.clip(MASK_PX_PER_TILE * max(slide.dimensions_px) / span, *MASK_SIDE_PX))
    thumbnail, downsample = slide.thumbnail(side)
    return tissue_mask(thumbnail), downsample


def share_in_mask(mask: np.ndarray, x: np.ndarray, y: np.ndarray, span: float) -> np.ndarray:
    """Share of squares that a mask covers; outside the mask it is 0.

    Args:
        mask: (h, w) bool.
        x: (N,) left edges of the squares, in mask pixels.
        y: (N,) upper edges of the squares, in mask pixels.
        span: side of the squares, in mask pixels.

    Returns:
        (N,) float, 0 to 1.
    """
    # Sums over [0, i) x [0, j), interpolated between whole pixels: exact for squares of any position and size.
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    sums[1:, 1:] = mask.cumsum(0, dtype=np.float64).cumsum(1)

    def up_to(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        y, x = np.clip(y, 0, mask.shape[0]), np.clip(x, 0, mask.shape[1])
        i, j = np.minimum(y.astype(int), mask.shape[0] - 1), np.minimum(x.astype(int), mask.shape[1] - 1)
        v, u = y - i, x - j
        upper = sums[i, j] * (1 - u) + sums[i, j + 1] * u
        lower = sums[i + 1, j] * (1 - u) + sums[i + 1, j + 1] * u
        return upper * (1 - v) + lower * v

    area = up_to(y + span, x + span) - up_to(y, x + span) - up_to(y + span, x) + up_to(y, x)
    return area / span**2
