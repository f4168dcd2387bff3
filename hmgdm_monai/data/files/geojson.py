"""Write tiles and superpixels as GeoJSON for QuPath: polygons in level-0 pixels, with values and colors."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError

DECIMALS = 2  # decimal places of coordinates, in level-0 pixels
DIGITS = 6  # significant digits of measurements

# Closed rings (first point = last): the outer ring of positive area (x to the right, y down), then the holes.
Polygon = list[np.ndarray]


def tile_polygons(coords: np.ndarray, side_px: float) -> list[Polygon]:
    """Square polygons of tiles.

    Args:
        coords: (M, 2) upper left corners in level-0 pixels.
        side_px: side of a tile in level-0 pixels.
    """
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float) * side_px
    return [[corner + corners] for corner in np.asarray(coords, float)]


def superpixel_polygons(label_map: np.ndarray, origin_px: Sequence[float], pixel_px: float) -> list[Polygon]:
    """Outline of each superpixel along its pixel borders, so that areas are exact and neighbors share their border.

    Args:
        label_map: (H, W) integer, labels 0 to V - 1, each one 4-connected piece; -1 for no superpixel.
        origin_px: upper left corner of the map, (x, y) in level-0 pixels.
        pixel_px: size of a map pixel in level-0 pixels.

    Returns:
        V polygons in level-0 pixels.

    Raises:
        InputError: a label is missing or in several pieces.
    """
    labels = np.asarray(label_map)
    height, width = labels.shape
    padded = np.pad(labels.astype(np.int64), 1, constant_values=-1)
    middle = padded[1:-1, 1:-1]
    # Pixel edges next to another label, each traversed with its own pixel on the right-hand side (y down).
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # upper
        (padded[1:-1, 2:], (1, 0), (1, 1)),  # right
        (padded[2:, 1:-1], (1, 1), (0, 1)),  # lower
        (padded[1:-1, :-2], (0, 1), (0, 0)),  # left
    )
    steps: list[dict[tuple[int, int], list[tuple[int, int]]]] = [{} for _ in range(int(labels.max()) + 1)]
    for beyond, (start_x, start_y), (end_x, end_y) in sides:
        for row, column in np.argwhere((middle != beyond) & (middle >= 0)).tolist():
            start, end = (column + start_x, row + start_y), (column + end_x, row + end_y)
            steps[labels[row, column]].setdefault(start, []).append(end)
    polygons = []
    for label, ways in enumerate(steps):
        rings = sorted(_rings(ways), key=_area, reverse=True)
        outer = sum(_area(ring) > 0 for ring in rings)
        if outer != 1 or any(len(np.unique(ring, axis=0)) < len(ring) - 1 for ring in rings):
            raise InputError(
                f"superpixel {label} has no pixel or is in several pieces; number connected pieces 0 to V-1"
            )
        polygons.append([np.asarray(origin_px, float) + pixel_px * ring for ring in rings])
    return polygons


def feature_collection(
    polygons: Sequence[Polygon],
    measurements: Mapping[str, np.ndarray],
    colors: np.ndarray,
    classes: Sequence[str] | None = None,
    class_colors: Mapping[str, Sequence[int]] | None = None,
    names: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Build a GeoJSON FeatureCollection of QuPath detections (in QuPath: File, Import objects from file).

    Args:
        polygons: M polygons in level-0 pixels.
        measurements: name -> (M,) values for QuPath's measurement maps; values that are not finite are skipped.
        colors: (M, 3) uint8, colors of polygons without a class.
        classes: M class names; None writes no classes.
        class_colors: class name -> RGB, 0 to 255; None leaves the colors to QuPath.
        names: M names, shown in QuPath's list of objects; None writes no names.
        ids: M UUIDs, see :func:`object_ids`; None writes no ids.

    Raises:
        ValueError: the numbers of polygons, values and colors differ.
    """
    count = len(polygons)
    described = [colors, *measurements.values(), *(part for part in (classes, names, ids) if part is not None)]
    if any(len(part) != count for part in described):
        raise ValueError(f"{count} polygons need as many colors, measurements, classes, names and ids")
    features = []
    for number, polygon in enumerate(polygons):
        properties: dict[str, Any] = {
            "objectType": "detection",
            "color": [int(part) for part in colors[number]],
            "measurements": {
                name: float(f"{values[number]:.{DIGITS}g}")
                for name, values in measurements.items()
                if math.isfinite(values[number])
            },
        }
        if names is not None:
            properties["name"] = names[number]
        if classes is not None:
            properties["classification"] = {"name": str(classes[number])}
            if class_colors is not None:
                properties["classification"]["color"] = [int(part) for part in class_colors[classes[number]]]
        geometry = {"type": "Polygon", "coordinates": [_rounded(ring) for ring in polygon]}
        feature = {"type": "Feature", "geometry": geometry, "properties": properties}
        features.append(feature if ids is None else {**feature, "id": ids[number]})
    return {"type": "FeatureCollection", "features": features}


def object_ids(image_id: str, places: Sequence[Sequence[float]]) -> list[str]:
    """Compute a UUID (version 5) for each object of an image; the same image and position always give the same UUID.

    With it, a script in QuPath finds the objects of an earlier run, and a correction made in QuPath finds its tile.

    Args:
        image_id: `ManifestRow.id`.
        places: numbers that distinguish each object from all others of the image, for example its position.
    """
    return [
        str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join([image_id, *(f"{part:.10g}" for part in place)])))
        for place in places
    ]


def write_geojson(path: Path | str, collection: Mapping[str, Any]) -> Path:
    """Write a collection as compact JSON, completely or not at all.

    Args:
        path: file to write.
        collection: output of :func:`feature_collection`.

    Returns:
        Path of the file.
    """
    return write_whole(path, json.dumps(collection, allow_nan=False, separators=(",", ":")).encode())


def _rounded(ring: np.ndarray) -> list[list[float]]:
    """Points of a ring as rounded JSON numbers: on a slide with 100,000 tiles each digit costs one megabyte."""
    return [[int(x) if x == int(x) else x, int(y) if y == int(y) else y] for x, y in np.round(ring, DECIMALS).tolist()]


def _rings(ways: dict[tuple[int, int], list[tuple[int, int]]]) -> Iterator[np.ndarray]:
    """Remove all rings from the steps one by one, until no steps are left."""
    while ways:
        yield _ring(ways)


def _ring(ways: dict[tuple[int, int], list[tuple[int, int]]]) -> np.ndarray:
    """Remove one closed ring (K, 2) from the steps between pixel corners; only corners where it turns are kept."""
    start = min(ways)
    points = [start]
    heading: tuple[int, int] | None = None
    while True:
        here = points[-1]
        ends = ways[here]
        # If two pixels touch only at a corner, turning left keeps the ring around the area outside. So a hole that
        # touches another hole, or the outside, at a corner keeps its own ring, and no ring touches itself.
        choice = 0
        if heading is not None and len(ends) > 1:
            turns = [_turn(heading, here, end) for end in ends]
            choice = turns.index(min(turns))
        there = ends.pop(choice)
        if not ends:
            del ways[here]
        step = (there[0] - here[0], there[1] - here[1])
        if step == heading:
            points[-1] = there
        else:
            points.append(there)
        heading = step
        if there == start:
            return np.array(points, float)


def _turn(heading: tuple[int, int], here: tuple[int, int], there: tuple[int, int]) -> int:
    """1 for a right turn, -1 for a left turn (y down), 0 for straight on or back."""
    return heading[0] * (there[1] - here[1]) - heading[1] * (there[0] - here[0])


def _area(ring: np.ndarray) -> float:
    x, y = ring[:-1].T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
