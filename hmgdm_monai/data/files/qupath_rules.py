"""Rules that a GeoJSON file must follow so that QuPath imports all of it as intended."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from hmgdm_monai.errors import InputError

OBJECT_TYPES = ("annotation", "detection", "tile", "cell", "tmaCore")


def check_feature_collection(collection: Any) -> None:
    """Check a parsed GeoJSON collection against QuPath's rules for import (0.4 and later).

    The collection must be a FeatureCollection of Features. The geometry of each is a Polygon or MultiPolygon. Its rings
    are closed, have at least four points and a nonzero area, and the holes are smaller than the outer ring. The
    properties are ``objectType`` (:data:`OBJECT_TYPES`), ``measurements`` (an object of finite numbers) and optionally
    ``classification`` (an object with ``name`` and ``color``), ``color`` (three whole numbers, 0 to 255), ``name`` and
    ``isLocked``. An ``id`` is a UUID that no other feature has. QuPath itself accepts more: it imports unknown types as
    annotations and drops what it cannot read; here both raise.

    Args:
        collection: the content of the file, as ``json.load`` returns it.

    Raises:
        InputError: the first fault, with the index of its feature.
    """
    if not isinstance(collection, Mapping) or collection.get("type") != "FeatureCollection":
        raise InputError("not a FeatureCollection; give an object of that type with a list of features")
    if not isinstance(collection.get("features"), list):
        raise InputError("the FeatureCollection has no list of features")
    ids: set[uuid.UUID] = set()
    for number, feature in enumerate(collection["features"]):
        for fault in (_feature_fault(feature), _id_fault(feature, ids)):
            if fault is not None:
                raise InputError(f"feature {number}: {fault}")


def _feature_fault(feature: Any) -> str | None:
    if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
        return "is not an object of type Feature"
    if (fault := _geometry_fault(feature.get("geometry"))) is not None:
        return fault
    properties = feature.get("properties")
    if not isinstance(properties, Mapping):
        return "has no properties"
    if properties.get("objectType") not in OBJECT_TYPES:
        return f"objectType {properties.get('objectType')!r} is none of {', '.join(OBJECT_TYPES)}"
    if "classification" in properties:
        classification = properties["classification"]
        if not isinstance(classification, Mapping) or not _is_text(classification.get("name")):
            return "classification is not an object with a name"
        if "color" in classification and not _is_color(classification["color"]):
            return f"color of the class is not three whole numbers, 0 to 255, but {classification['color']!r}"
    if "color" in properties and not _is_color(properties["color"]):
        return f"color is not three whole numbers, 0 to 255, but {properties['color']!r}"
    if "name" in properties and not _is_text(properties["name"]):
        return f"name is not a text but {properties['name']!r}"
    if not isinstance(properties.get("isLocked", False), bool):
        return f"isLocked is neither true nor false, but {properties['isLocked']!r}"
    return _measurements_fault(properties.get("measurements", {}))


def _id_fault(feature: Mapping[str, Any], ids: set[uuid.UUID]) -> str | None:
    if "id" not in feature:
        return None
    try:
        found = uuid.UUID(feature["id"])
    except (ValueError, AttributeError, TypeError):
        return f"id {feature['id']!r} is not a UUID"
    if found in ids:
        return f"id {feature['id']} occurs twice"
    ids.add(found)
    return None


def _geometry_fault(geometry: Any) -> str | None:
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind not in ("Polygon", "MultiPolygon"):
        return f"geometry is {kind or 'missing'}, not Polygon or MultiPolygon"
    pieces = geometry.get("coordinates")
    pieces = [pieces] if kind == "Polygon" else pieces
    if not isinstance(pieces, list) or not pieces or not all(isinstance(piece, list) and piece for piece in pieces):
        return "geometry has no rings"
    for piece in pieces:
        areas = []
        for place, ring in enumerate(piece):
            try:
                points = np.array(ring, float)
            except (TypeError, ValueError):
                return f"ring {place} is not a list of points"
            if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
                return f"ring {place} is not a list of points of two finite numbers"
            if len(points) < 4 or (points[0] != points[-1]).any():
                return f"ring {place} is not closed, or has fewer than four points"
            x, y = (points[:-1] - points[0]).T
            areas.append(abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2)
        if min(areas) == 0:
            return "a ring has no area"
        if sum(areas[1:]) >= areas[0]:
            return "holes are as large as the ring around them"
    return None


def _measurements_fault(measurements: Any) -> str | None:
    if not isinstance(measurements, Mapping):
        return "measurements are not an object of names and numbers"
    for name, value in measurements.items():
        if not _is_text(name) or isinstance(value, bool) or not isinstance(value, int | float):
            return f"measurement {name!r} is not a number but {value!r}"
        if not math.isfinite(value):
            return f"measurement {name!r} is not finite"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value)
