"""Tile positions of a manifest row: a grid, or coordinates from a file, restricted to regions and a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import Slide
from hmgdm_monai.data.tiles.coords_file import read_coords
from hmgdm_monai.data.tiles.mask import MaskRule, tiles_in_mask
from hmgdm_monai.data.tiles.regions import tiles_in_regions
from hmgdm_monai.data.tiles.tiling import TileSpec, tile_locations
from hmgdm_monai.errors import InputError

# Other tools work with magnifications or pixels of a level, and scanners differ in the last digits.
SIDE_TOLERANCE = 0.02


def row_locations(
    slide: Slide,
    row: ManifestRow,
    spec: TileSpec,
    mask_rule: MaskRule | None = None,
    masked_px: list[tuple[int, int]] | None = None,
) -> np.ndarray:
    """Top-left corners of the tiles of a row.

    If the manifest gives `coords`, all coordinates of that file are used, whatever tissue the tiles show; otherwise
    those of :func:`~hmgdm_monai.data.tiles.tiling.tile_locations`. If it gives `regions`, only tiles whose center lies
    in a region are kept. If it gives `mask`, only tiles that the mask keeps are kept
    (:func:`~hmgdm_monai.data.tiles.mask.tiles_in_mask`). Tiles are read at `spec` in all cases, so the tiles of the
    file of coordinates must have the same size, within 2 %.

    Args:
        slide: the image of the row, open.
        row: row of the manifest.
        spec: size, scale and selection of tiles.
        mask_rule: which values of a mask are kept; None uses the defaults.
        masked_px: list that gets (x, y) of the tiles that the mask leaves out.

    Returns:
        (N, 2) int64, (x, y) in level-0 pixels, N >= 1.

    Raises:
        InputError: there is no tissue, mpp is unknown, a file cannot be used, the tiles have another size or belong to
            another slide, or no tile lies in a region or is kept by the mask.
    """
    locations = tile_locations(slide, spec) if row.coords is None else _given_locations(slide, row.coords, spec)
    side_px = spec.size_px * slide.downsample_at(spec.mpp)
    locations = _in_regions(slide, row, locations, side_px)
    if row.mask is not None:
        kept = tiles_in_mask(row.mask, locations, side_px, slide.dimensions_px, mask_rule or MaskRule())
        if masked_px is not None:
            masked_px += [(x, y) for x, y in locations[~kept].tolist()]
        locations = locations[kept]
    return locations


def _in_regions(slide: Slide, row: ManifestRow, locations: np.ndarray, side_px: float) -> np.ndarray:
    """The locations of the tiles whose center lies in a region of the row; all if it names none."""
    if row.regions is None:
        return locations
    inside = tiles_in_regions(row.regions, locations, side_px, slide.dimensions_px, row.region_classes)
    if not inside.any():
        chosen = f" of class {' or '.join(row.region_classes)}" if row.region_classes else ""
        raise InputError(
            f"{slide.path}: none of its {len(locations)} tiles has its center in a region{chosen} of "
            f"{row.regions.name}; draw larger regions, or make tiles smaller or let them overlap"
        )
    return locations[inside]


def _given_locations(slide: Slide, path: Path, spec: TileSpec) -> np.ndarray:
    coords = read_coords(path)
    side_px = spec.size_px * slide.downsample_at(spec.mpp)
    if abs(coords.side_px - side_px) > SIDE_TOLERANCE * side_px:
        um_per_px = spec.mpp * spec.size_px / side_px
        theirs = coords.side_px * um_per_px
        size_px = coords.size_px or spec.size_px
        raise InputError(
            f"{slide.path}: tiles of {path.name} are {theirs:.4g} um wide, ours {spec.size_px * spec.mpp:.4g}"
            f" um; train with tile_size_px {size_px} and tile_mpp {theirs / size_px:.4g}, or tile again for this model"
        )
    width, height = slide.dimensions_px
    x, y = coords.locations_px.T
    outside = int(((x + coords.side_px <= 0) | (y + coords.side_px <= 0) | (x >= width) | (y >= height)).sum())
    if outside:
        raise InputError(
            f"{slide.path}: {outside} of the {len(x)} tiles of {path.name} lie outside it ({width} x {height} px)"
            "; check that both are of the same slide"
        )
    return coords.locations_px
