"""Read polygons with class names from GeoJSON of QuPath, HoVer-Net, CellViT, StarDist and Cellpose."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.geojson import Polygon
from hmgdm_monai.data.files.geojson_features import ROOT, read_geojson_features, text_of
from hmgdm_monai.errors import InputError

FARTHEST_PX = 2**31  # no slide is wider


@dataclass(frozen=True)
class Shape:
    """One polygon of a GeoJSON file.

    Attributes:
        polygon: rings (K, 2), (x, y) in level-0 pixels, each closed (first point = last): the outer ring, then holes.
        class_name: class of the polygon; None if it has no class.
        object_type: "annotation", "detection", "cell", "tile" or "tmaCore" in QuPath's files of any version; any other
            text from the file; None if there is no type.
        feature: index of its feature, from 0; all parts of a MultiPolygon have the same.
        measurements: name -> value.
    """

    polygon: Polygon
    class_name: str | None = None
    object_type: str | None = None
    feature: int = 0
    measurements: Mapping[str, float] = field(default_factory=dict)


def read_shapes(path: Path | str) -> tuple[list[Shape], dict[str, int]]:
    """Read the polygons of a GeoJSON file.

    :func:`~hmgdm_monai.data.files.geojson_features.read_geojson_features` finds the features of the file. Each part of
    a MultiPolygon becomes one shape. The class is read from `properties.classification` (a name, or an object with
    `name`, or with `names`, which are joined by ": " as in QuPath), otherwise from `properties.class`. Open rings are
    closed; third coordinates are dropped.

    Args:
        path: a file in UTF-8, with coordinates in level-0 pixels.

    Returns:
        The shapes in file order, and the number of skipped objects of each kind ("Point", "polygon without area",
        "missing TMA core", ...).

    Raises:
        InputError: the file does not exist or is not GeoJSON, or the coordinates of a polygon are not numbers.
    """
    path = Path(path)
    shapes: list[Shape] = []
    skipped: Counter[str] = Counter()
    for number, feature in enumerate(read_geojson_features(path)):
        where, properties = f"{path}: feature {number}", feature.properties
        if feature.object_type == ROOT:  # the whole image
            skipped["root object"] += 1
            continue
        if feature.object_type == "tmaCore" and properties.get("isMissing") is True:
            skipped["missing TMA core"] += 1
            continue
        if not feature.geometries:
            skipped["feature without geometry"] += 1
        name, measured = _class_name(properties), _measurements(properties.get("measurements"))
        for geometry in feature.geometries:
            kind = geometry.get("type")
            if kind not in ("Polygon", "MultiPolygon"):
                skipped[text_of(kind) or "feature without geometry"] += 1
                continue
            pieces = geometry.get("coordinates")
            for rings in [pieces] if kind == "Polygon" else _listed(pieces, where):
                polygon = _polygon(rings, where)
                if polygon is None:
                    skipped["polygon without area"] += 1
                else:
                    shapes.append(Shape(polygon, name, feature.object_type, number, measured))
    return shapes, dict(skipped)


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts of skipped objects, the most frequent first: "Point: 12, polygon without area: 3"."""
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class ShapeIndex:
    """Index of shapes for fast drawing of windows: only shapes that touch a window are processed.

    With 100,000 cells, drawing a window of 256 px with 50 cells takes about 4 ms on one core: all bounding boxes are
    compared, and only the cells inside are drawn.

    Args:
        shapes: shapes in drawing order.

    Attributes:
        shapes: the given shapes.
        boxes_px: bounding boxes, (M, 4): left, top, right and bottom in level-0 pixels.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.shapes = list(shapes)
        outer = [shape.polygon[0] for shape in self.shapes]
        self.boxes_px = np.array([(*ring.min(axis=0), *ring.max(axis=0)) for ring in outer], float).reshape(-1, 4)

    def touching(self, origin_px: Sequence[float] | np.ndarray, span_px: Sequence[float]) -> np.ndarray:
        """Indices, ascending, of the shapes whose bounding box overlaps a window.

        Args:
            origin_px: upper left corner of the window, (x, y) in level-0 pixels.
            span_px: (width, height) of the window in level-0 pixels.
        """
        left, top, right, bottom = self.boxes_px.T
        (x, y), (width, height) = origin_px, span_px
        return np.flatnonzero((right > x) & (left < x + width) & (bottom > y) & (top < y + height))

    def rasterize(
        self,
        values: Sequence[int] | np.ndarray,
        origin_px: Sequence[float],
        pixel_px: float,
        size_px: int | tuple[int, int],
    ) -> np.ndarray:
        """Draw the shapes into a window; later shapes overwrite earlier ones.

        A pixel belongs to a shape if its center lies inside the outer ring and outside all holes.

        Args:
            values: (M,) integers, the value to draw for each shape; shapes of value 0 are drawn too, and thus erase.
            origin_px: upper left corner of the window, (x, y) in level-0 pixels.
            pixel_px: size of a window pixel in level-0 pixels.
            size_px: size of the window in its own pixels: one number, or (height, width).

        Returns:
            (H, W) int32; 0 where there is no shape.

        Raises:
            ValueError: the number of values differs from the number of shapes.
        """
        if len(values) != len(self.shapes):
            raise ValueError(f"{len(self.shapes)} shapes need as many values, not {len(values)}")
        height, width = (size_px, size_px) if isinstance(size_px, int) else size_px
        canvas = np.zeros((height, width), np.int32)
        origin = np.asarray(origin_px, float)
        for number in self.touching(origin, (width * pixel_px, height * pixel_px)).tolist():
            rings = [(ring - origin) / pixel_px for ring in self.shapes[number].polygon]
            _fill(canvas, rings, values[number])
        return canvas


def rasterize(
    shapes: Sequence[Shape],
    values: Sequence[int] | np.ndarray,
    origin_px: Sequence[float],
    pixel_px: float,
    size_px: int | tuple[int, int],
) -> np.ndarray:
    """Draw one window with :meth:`ShapeIndex.rasterize`; for many windows, build the index only once.

    Args:
        shapes: shapes in drawing order.
        values: (M,) integers, the value to draw for each shape.
        origin_px: upper left corner of the window, (x, y) in level-0 pixels.
        pixel_px: size of a window pixel in level-0 pixels.
        size_px: size of the window in its own pixels: one number, or (height, width).
    """
    return ShapeIndex(shapes).rasterize(values, origin_px, pixel_px, size_px)


def _polygon(rings: Any, where: str) -> Polygon | None:
    """Closed rings of a polygon; None if it has no area. Holes without area are dropped."""
    polygon: Polygon = []
    for ring in _listed(rings, where):
        try:
            points = np.array([point[:2] for point in _listed(ring, where)], float)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"{where} has coordinates that are not pairs of numbers; export the file again") from error
        if points.size and (points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all()):
            raise InputError(f"{where} has coordinates that are not pairs of numbers; export the file again")
        if points.size and np.abs(points).max() > FARTHEST_PX:
            raise InputError(f"{where} has coordinates beyond {FARTHEST_PX} px; export the file again")
        if len(points) >= 3 and (points[0] != points[-1]).any():
            points = np.concatenate([points, points[:1]])
        if len(points) >= 4:
            polygon.append(points)
        elif not polygon:
            return None
    return polygon or None


def _listed(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where} has coordinates that are not lists of points; export the file again")
    return value


def _class_name(properties: Mapping[str, Any]) -> str | None:
    """Read the class from any of its notations."""
    for found in (properties.get("classification"), properties.get("class")):
        if isinstance(found, dict):
            names = found.get("names")
            found = found.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else None)
        if name := text_of(found):
            return name
    return None


def _measurements(value: Any) -> dict[str, float]:
    """Read an object, or the list of names and values of older QuPath versions; only finite values are kept."""
    if isinstance(value, list):
        value = {str(item.get("name")): item.get("value") for item in value if isinstance(item, dict)}
    if not isinstance(value, dict):
        return {}
    numbers = {str(k): v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: float(number) for name, number in numbers.items() if abs(number) <= sys.float_info.max}


def _fill(canvas: np.ndarray, rings: Sequence[np.ndarray], value: int) -> None:
    """Set the pixels whose centers lie inside by the even-odd rule; rings are in canvas pixels.

    This is a scanline fill. scikit-image's ``polygon`` tests each pixel against each edge, which takes seconds per tile
    for a tumor outline with ten thousand points.
    """
    height, width = canvas.shape
    x, y = (np.concatenate([ring[:, axis] for ring in rings]) for axis in (0, 1))
    ends_ring = np.array([len(ring) for ring in rings]).cumsum() - 1  # no edge connects two rings
    starts = np.delete(np.arange(len(x)), ends_ring)
    x0, y0, x1, y1 = x[starts], y[starts], x[starts + 1], y[starts + 1]
    # Rows whose center line y + 0.5 is crossed by an edge; the upper end of the edge is included, the lower is not.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    count = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64) - first
    total = int(count.sum())
    if total == 0:
        return
    side = np.repeat(np.arange(len(count)), count)
    rows = first[side] + np.arange(total) - np.repeat(count.cumsum() - count, count)
    crossing = x0[side] + (rows + 0.5 - y0[side]) * (x1[side] - x0[side]) / (y1[side] - y0[side])
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max()
    turns = np.zeros((bottom - top, right - left + 1), np.int64)
    np.add.at(turns, (rows - top, columns - left), 1)
    inside = turns.cumsum(axis=1)[:, :-1] % 2 == 1
    canvas[top:bottom, left:right][inside] = value
