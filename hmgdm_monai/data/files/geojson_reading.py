"""Polygons with class names out of GeoJSON, as QuPath, HoVer-Net, CellViT, StarDist and Cellpose export them."""

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


@dataclass(frozen=True)
class Shape:
    """One polygon of a GeoJSON file.

    Attributes:
        polygon: rings (K, 2), x and y in level-0 pixels, each closed (first point = last): the outer one, then holes.
        class_name: None where it has no class.
        object_type: "annotation", "detection", "cell", "tile" or "tmaCore" in QuPath's files of any version; what else
            the file says; None where it says nothing.
        feature: number of the feature it is (a piece) of, from 0; the pieces of a MultiPolygon share it.
        measurements: name -> value.
    """

    polygon: Polygon
    class_name: str | None = None
    object_type: str | None = None
    feature: int = 0
    measurements: Mapping[str, float] = field(default_factory=dict)


def read_shapes(path: Path | str) -> tuple[list[Shape], dict[str, int]]:
    """Read the polygons of a GeoJSON file.

    :func:`~hmgdm_monai.data.files.geojson_features.read_geojson_features` says which features a file has. A
    MultiPolygon gives a shape for each of its pieces. A class is what `properties.classification` says (a name,
    or an object with `name`, or with `names`, which are joined by ": " as QuPath shows them), or else
    `properties.class`. Open rings are closed; third coordinates are dropped.

    Args:
        path: a file in UTF-8, coordinates in level-0 pixels.

    Returns:
        The shapes in the order of the file, and what was passed over: its kind ("Point", "polygon without area",
        "missing TMA core", ...) -> how many.

    Raises:
        InputError: no such file, not GeoJSON, or a polygon whose coordinates are no numbers.
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


def told_counts(counts: Mapping[str, int]) -> str:
    """What was passed over, the most frequent first: "Point: 12, polygon without area: 3"."""
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class ShapeIndex:
    """Shapes made ready to be drawn window by window: only those that a window touches are looked at.

    Of 100,000 cells, a window of 256 px with 50 of them takes about 4 ms on one core: a comparison of bounding boxes,
    and the drawing of those within.

    Args:
        shapes: in the order in which they are drawn.

    Attributes:
        shapes: the same.
        boxes_px: (M, 4) left, top, right and bottom in level-0 pixels.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.shapes = list(shapes)
        outer = [shape.polygon[0] for shape in self.shapes]
        self.boxes_px = np.array([(*ring.min(axis=0), *ring.max(axis=0)) for ring in outer], float).reshape(-1, 4)

    def touching(self, origin_px: Sequence[float] | np.ndarray, span_px: Sequence[float]) -> np.ndarray:
        """Numbers, ascending, of the shapes whose bounding box meets a window, both x and y in level-0 pixels."""
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
        """Draw the shapes into a window; a later one overwrites an earlier.

        A pixel belongs to a shape where its center lies within the outer ring and in none of the holes.

        Args:
            values: (M,) integers, what is drawn for each shape; shapes of value 0 are drawn as well, and so erase.
            origin_px: upper left corner of the window, x and y in level-0 pixels.
            pixel_px: side of a pixel of the window in level-0 pixels.
            size_px: of the window, one number, or (height, width).

        Returns:
            (H, W) int32; 0 where there is no shape.

        Raises:
            ValueError: another number of values than of shapes.
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
    """One window by :meth:`ShapeIndex.rasterize`; where there are many windows, make the index once."""
    return ShapeIndex(shapes).rasterize(values, origin_px, pixel_px, size_px)


def _polygon(rings: Any, where: str) -> Polygon | None:
    """Closed rings of an outline; None where it encloses nothing. Holes that enclose nothing are dropped."""
    polygon: Polygon = []
    for ring in _listed(rings, where):
        try:
            points = np.array([point[:2] for point in _listed(ring, where)], float)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"{where} has coordinates that are no pairs of numbers; export the file again") from error
        if points.size and (points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all()):
            raise InputError(f"{where} has coordinates that are no pairs of numbers; export the file again")
        if len(points) >= 3 and (points[0] != points[-1]).any():
            points = np.concatenate([points, points[:1]])
        if len(points) >= 4:
            polygon.append(points)
        elif not polygon:
            return None
    return polygon or None


def _listed(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where} has coordinates that are no lists of points; export the file again")
    return value


def _class_name(properties: Mapping[str, Any]) -> str | None:
    """The class, however it is written."""
    for found in (properties.get("classification"), properties.get("class")):
        if isinstance(found, dict):
            names = found.get("names")
            found = found.get("name") or (": ".join(map(str, names)) if isinstance(names, list) else None)
        if name := text_of(found):
            return name
    return None


def _measurements(value: Any) -> dict[str, float]:
    """As an object, or as the list of names and values that older QuPath writes; what is not finite is left out."""
    if isinstance(value, list):
        value = {str(item.get("name")): item.get("value") for item in value if isinstance(item, dict)}
    if not isinstance(value, dict):
        return {}
    numbers = {str(k): v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: float(number) for name, number in numbers.items() if abs(number) <= sys.float_info.max}


def _fill(canvas: np.ndarray, rings: Sequence[np.ndarray], value: int) -> None:
    """Set the pixels whose centers lie inside by the even-odd rule; rings in pixels of the canvas.

    A scan over rows, not scikit-image's ``polygon``: that one tests each pixel against each side, which takes seconds a
    tile for the outline of a tumor with ten thousand points.
    """
    height, width = canvas.shape
    x, y = (np.concatenate([ring[:, axis] for ring in rings]) for axis in (0, 1))
    ends_ring = np.array([len(ring) for ring in rings]).cumsum() - 1  # no side leads from one ring to the next
    starts = np.delete(np.arange(len(x)), ends_ring)
    x0, y0, x1, y1 = x[starts], y[starts], x[starts + 1], y[starts + 1]
    # Rows whose center line y + 0.5 a side crosses, its upper end included, its lower one not.
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
