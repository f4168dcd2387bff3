"""The check that stands for QuPath's import."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from hmgdm_monai.data.files.qupath_rules import check_feature_collection
from hmgdm_monai.errors import InputError

SQUARE = [[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]
HOLE = [[2, 2], [2, 4], [4, 4], [4, 2], [2, 2]]
GOOD = {
    "type": "Feature",
    "id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "geometry": {"type": "Polygon", "coordinates": [SQUARE, HOLE]},
    "properties": {
        "objectType": "detection",
        "name": "tile 0",
        "color": [1, 2, 3],
        "classification": {"name": "Tumor", "color": [200, 0, 0]},
        "isLocked": False,
        "measurements": {"risk": 0.5, "n": 3},
    },
}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good feature with one entry replaced, or taken out where the value is ...."""
    feature = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    place = feature
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return feature


def test_what_is_right_passes():
    multi = changed("geometry", {"type": "MultiPolygon", "coordinates": [[SQUARE], [HOLE]]})
    del multi["id"]
    check_feature_collection(collection())
    check_feature_collection(collection(GOOD, multi))
    for optional in ("id", "properties.name", "properties.color", "properties.classification", "properties.isLocked"):
        check_feature_collection(collection(changed(optional, ...)))
    check_feature_collection(collection(changed("properties.classification.color", ...)))


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("type", "feature", "type Feature"),
        ("id", "tile 7", "not a UUID"),
        ("id", 7, "not a UUID"),
        ("geometry", None, "geometry is missing"),
        ("geometry.type", "Point", "geometry is Point"),
        ("geometry.coordinates", [], "no rings"),
        ("geometry.coordinates", [SQUARE[:-1]], "not closed"),
        ("geometry.coordinates", [[[0, 0], [8, 8], [0, 0]]], "fewer than four"),
        ("geometry.coordinates", [[[0, 0], [8, 8], [4, 4], [0, 0]]], "no area"),
        ("geometry.coordinates", [HOLE, SQUARE], "holes are as large"),
        ("geometry.coordinates", [[[0, 0], [8, 0], [8, math.nan], [0, 0]]], "finite"),
        ("geometry.coordinates", [[[0, 0, 0], [8, 0, 0], [8, 8, 0], [0, 0, 0]]], "two finite numbers"),
        ("geometry.coordinates", [["a", "b"]], "not a list of points"),
        ("properties", ..., "no properties"),
        ("properties.objectType", ..., "objectType None"),
        ("properties.objectType", "polygon", "objectType 'polygon'"),
        ("properties.classification", "Tumor", "classification"),
        ("properties.classification", None, "classification"),
        ("properties.classification.name", " ", "classification"),
        ("properties.classification.color", [1, 2], "color of the class"),
        ("properties.classification.color", [1, 2, 256], "color of the class"),
        ("properties.color", [1.5, 2, 3], "color is not"),
        ("properties.color", -16711936, "color is not"),
        ("properties.name", None, "name is not a text"),
        ("properties.isLocked", 1, "isLocked"),
        ("properties.measurements", [], "measurements"),
        ("properties.measurements.risk", math.inf, "'risk' is not finite"),
        ("properties.measurements.risk", "0.5", "'risk' is not a number"),
        ("properties.measurements.risk", True, "'risk' is not a number"),
    ],
)
def test_each_fault_is_told_with_its_feature(path, value, wanted):
    first = changed("id", ...)
    with pytest.raises(InputError, match=f"feature 1: .*{wanted}"):
        check_feature_collection(collection(first, changed(path, value)))


def test_what_is_no_collection():
    for bad in ([], {}, None, {"type": "Feature"}, {"type": "FeatureCollection"}):
        with pytest.raises(InputError, match="FeatureCollection"):
            check_feature_collection(bad)


def test_no_id_stands_twice():
    with pytest.raises(InputError, match=r"feature 1: id .* occurs twice"):
        check_feature_collection(collection(GOOD, GOOD))
