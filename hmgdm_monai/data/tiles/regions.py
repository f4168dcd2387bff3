"""Find the tiles that lie in annotated regions of a slide."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.geojson import Polygon
from hmgdm_monai.data.files.geojson_reading import Shape, format_counts, read_shapes
from hmgdm_monai.errors import InputError

logger = logging.getLogger(__name__)

IGNORED = "Ignore*"  # QuPath's class for areas to exclude
AREAS = (None, "annotation", "tmaCore")  # object types that count as regions; None is an object without a type


def tiles_in_regions(
    path: Path | str,
    locations: np.ndarray,
    side_px: float,
    slide_px: tuple[int, int],
    classes: Sequence[str] = (),
) -> np.ndarray:
    """Find the tiles whose center lies in an annotated region.

    The center decides, as in QuPath's own detections: a tile then belongs to only one of two adjacent regions, and the
    tiles of a region cover about its own area. Holes are outside. Areas annotated as ``Ignore*`` are outside too,
    whatever region they overlap. Annotations and TMA cores are regions, and, as in QuPath, objects without a type;
    detections, cells and tiles in the file are skipped.

    The numbers of skipped objects and of regions outside the slide are logged, one line each.

    Args:
        path: GeoJSON file, in level-0 pixels.
        locations: (N, 2) upper left corners of tiles, level-0 pixels.
        side_px: side of a tile, level-0 pixels.
        slide_px: (width, height) of level 0.
        classes: names of the classes to use; empty uses all classes and regions without a class.

    Returns:
        (N,) bool.

    Raises:
        InputError: the file does not exist or is not GeoJSON, no region has a wanted class, or all of them lie outside
            the slide.
    """
    path = Path(path)
    shapes, passed_over = read_shapes(path)
    areas = [shape for shape in shapes if shape.object_type in AREAS]
    others = Counter(f"object of type {shape.object_type}" for shape in shapes if shape.object_type not in AREAS)
    if counts := format_counts(passed_over | others):
        logger.warning("%s: skipped objects that are not regions: %s", path, counts)
    wanted = [shape for shape in areas if (shape.class_name in classes if classes else shape.class_name != IGNORED)]
    if not wanted:
        raise InputError(f"{path}: {_nothing_wanted(shapes, areas, classes)}")
    on_slide = [shape for shape in wanted if _touches(shape.polygon, slide_px)]
    if not on_slide:
        raise InputError(
            f"{path}: all its {len(wanted)} regions lie outside the slide ({slide_px[0]} x {slide_px[1]} px); check "
            "that both are of the same slide, and that coordinates are level-0 pixels"
        )
    if len(on_slide) < len(wanted):
        logger.warning("%s: %d of %d regions lie outside the slide", path, len(wanted) - len(on_slide), len(wanted))
    centers = np.asarray(locations, float) + side_px / 2
    inside = _in_any(centers, on_slide)
    if IGNORED not in classes:
        inside &= ~_in_any(centers, [shape for shape in areas if shape.class_name == IGNORED])
    return inside


def _in_any(points: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """Whether each point is in the outer ring of a shape and in none of its holes, (N,) bool."""
    from skimage.measure import points_in_poly

    found = np.zeros(len(points), bool)
    for shape in shapes:
        outer = shape.polygon[0]
        near = np.flatnonzero(~found & ((points >= outer.min(0)) & (points <= outer.max(0))).all(1))
        rings = np.zeros(len(near), int)
        for ring in shape.polygon:
            rings += points_in_poly(points[near], ring)
        found[near] = rings % 2 == 1
    return found


def _touches(polygon: Polygon, slide_px: tuple[int, int]) -> bool:
    low, high = polygon[0].min(0), polygon[0].max(0)
    return bool((high > 0).all() and (low < slide_px).all())


def _nothing_wanted(shapes: Sequence[Shape], areas: Sequence[Shape], classes: Sequence[str]) -> str:
    if not shapes:
        return "holds no polygon; draw regions and export them"
    if not areas:
        types = ", ".join(sorted({str(shape.object_type) for shape in shapes}))
        return f"holds no annotation, only objects of type {types}"
    there = ", ".join(sorted({shape.class_name or "none" for shape in areas}))
    wanted = f"of class {' or '.join(classes)}" if classes else f"but those of class {IGNORED}"
    return f"holds no annotation {wanted}; classes in it are {there}"
