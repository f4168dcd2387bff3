"""Tiles and superpixels as GeoJSON that QuPath opens: polygons in level-0 pixels, with values and colors."""

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

DECIMALS = 2  # of coordinates, in level-0 pixels
DIGITS = 6  # of measurements

# Each ring closed (first point = last), outer ring first and of positive area (x to the right, y down), then holes.
Polygon = list[np.ndarray]


def tile_polygons(coords: np.ndarray, side_px: float) -> list[Polygon]:
    """Squares with upper left corners ``coords`` (M, 2) and side ``side_px``, both in level-0 pixels."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float) * side_px
    return [[corner + corners] for corner in np.asarray(coords, float)]


def superpixel_polygons(label_map: np.ndarray, origin_px: Sequence[float], pixel_px: float) -> list[Polygon]:
    """Outline of every superpixel along the borders of its pixels: areas are exact, and neighbors share their border.

    Args:
        label_map: (H, W) integer, labels 0 to V - 1, each of them one 4-connected piece; -1 where there is none.
        origin_px: upper left corner of the map, x and y in level-0 pixels.
        pixel_px: side of a pixel of the map in level-0 pixels.

    Returns:
        V polygons in level-0 pixels.

    Raises:
        InputError: a label that is missing or in several pieces.
    """
    labels = np.asarray(label_map)
    height, width = labels.shape
    padded = np.pad(labels.astype(np.int64), 1, constant_values=-1)
    middle = padded[1:-1, 1:-1]
    # Sides of pixels towards another label, each walked with its own pixel on the right-hand side (y down).
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
    """A GeoJSON FeatureCollection of QuPath detections (in QuPath: File, Import objects from file).

    Args:
        polygons: M shapes in level-0 pixels.
        measurements: name -> (M,) values, shown by QuPath's measurement maps; values that are not finite are left out.
        colors: (M, 3) uint8, of the shapes that have no class.
        classes: M class names, where there are any.
        class_colors: class name -> RGB of 0 to 255.
        names: M names, shown in QuPath's list of objects.
        ids: M UUIDs, see :func:`object_ids`.

    Raises:
        ValueError: numbers of shapes, values and colors that do not match.
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
    """A UUID (version 5) for each object of an image: the same image and place give the same one in every run.

    By it a script finds in QuPath what an earlier run put there, and a correction made there finds its tile here.

    Args:
        image_id: `ManifestRow.id`.
        places: numbers that tell an object from all others of the image.
    """
    return [
        str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join([image_id, *(f"{part:.10g}" for part in place)])))
        for place in places
    ]


def write_geojson(path: Path | str, collection: Mapping[str, Any]) -> Path:
    """Write a collection, without blanks, whole or not at all."""
    return write_whole(path, json.dumps(collection, allow_nan=False, separators=(",", ":")).encode())


def _rounded(ring: np.ndarray) -> list[list[float]]:
    """Points of a ring as JSON: on a slide of a hundred thousand tiles each digit is a megabyte."""
    return [[int(x) if x == int(x) else x, int(y) if y == int(y) else y] for x, y in np.round(ring, DECIMALS).tolist()]


def _rings(ways: dict[tuple[int, int], list[tuple[int, int]]]) -> Iterator[np.ndarray]:
    """Take all rings out of steps, which are empty then."""
    while ways:
        yield _ring(ways)


def _ring(ways: dict[tuple[int, int], list[tuple[int, int]]]) -> np.ndarray:
    """Take one closed ring (K, 2) out of steps between corners of pixels; only corners where it turns are kept."""
    start = min(ways)
    points = [start]
    heading: tuple[int, int] | None = None
    while True:
        here = points[-1]
        ends = ways[here]
        # Where two pixels touch by a corner alone, a turn to the left stays with the area beyond: so a hole that
        # touches another, or the outside, by a corner keeps a ring of its own, and no ring meets itself.
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
    """1 for a turn to the right, -1 to the left (y down), 0 straight on or back."""
    return heading[0] * (there[1] - here[1]) - heading[1] * (there[0] - here[0])


def _area(ring: np.ndarray) -> float:
    x, y = ring[:-1].T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
