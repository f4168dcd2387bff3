"""Which tiles of an image its labels mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hmgdm_monai.data.slides.slide import Slide
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from lib.labels import RegionLabel, TileLabel
from lib.regions import is_tile, tiles_in


def labeled_tiles(
    slide: Slide, spec: TileSpec, labels: Sequence[TileLabel] | Sequence[RegionLabel]
) -> tuple[np.ndarray, np.ndarray]:
    """Tiles with a label, each once; of labels that contradict each other the later one counts.

    Args:
        slide: the image.
        spec: size and scale of its tiles.
        labels: of its label file.

    Returns:
        Upper left corners (N, 2) in level-0 pixels, and indices of classes (N,); N >= 1.

    Raises:
        InputError: one label for a whole slide, a tile outside of the image, or polygons without a tile in them.
    """
    width, height = slide.dimensions_px
    from skimage.measure import points_in_poly

    found: dict[tuple[float, float], int] = {}
    grid = tiles_in(slide, spec, None) if any(isinstance(label, RegionLabel) for label in labels) else None
    for label in labels:
        if isinstance(label, RegionLabel):
            middle = grid + spec.size_px * slide.downsample_at(spec.mpp) / 2
            found.update((tuple(where), label.class_index) for where in grid[points_in_poly(middle, label.corners_px)])
        elif label.location_px is None:
            if not is_tile(slide, spec):
                raise InputError(
                    f"{slide.path.name}: is larger than a tile, so one label does not tell which part is meant; "
                    'submit {"tiles": [{"location": [x, y], "label": CLASS}]}'
                )
            found[0.0, 0.0] = label.class_index
        else:
            x, y = label.location_px
            if not (0 <= x < width and 0 <= y < height):
                raise InputError(
                    f"{slide.path.name}: the labeled tile at {[x, y]} lies outside of the image of {width} x {height} "
                    "px; locations are in level-0 pixels"
                )
            found[x, y] = label.class_index
    if not found:
        raise InputError(f"{slide.path.name}: no tile with tissue has its center in a labeled region; draw larger ones")
    return np.array(list(found), float), np.array(list(found.values()))
