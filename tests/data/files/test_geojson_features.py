"""One answer for the files of all versions of QuPath, and for features however they are nested."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from hmgdm_monai.data.files.geojson_features import object_type, read_geojson_features
from hmgdm_monai.data.files.geojson_reading import read_shapes
from hmgdm_monai.data.tiles.cell_maps import open_cell_map
from hmgdm_monai.data.tiles.regions import tiles_in_regions
from hmgdm_monai.errors import InputError

SLIDE = (100, 60)
TILES = np.array([[x, y] for y in range(0, 60, 20) for x in range(0, 100, 20)])
JAVA = {
    "annotation": "PathAnnotationObject",
    "detection": "PathDetectionObject",
    "cell": "PathCellObject",
    "tile": "PathTileObject",
    "tmaCore": "TMACoreObject",
    "root": "PathRootObject",
}
UUID = "0b8d7f0c-31ae-4c6a-9a2e-5d1f8f0f6a11"


def box(x, y, side):
    return [[[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]]


def geometry(x, y, side=20, kind="Polygon"):
    return {"type": kind, "coordinates": box(x, y, side)}


def feature(kind, x, y, side=20, version="0.5", **properties):
    """As QuPath 0.2, 0.3, or 0.4 and later write it."""
    found = {"type": "Feature", "geometry": geometry(x, y, side), "properties": dict(properties)}
    if version == "0.2":
        found["id"] = JAVA.get(kind, kind)
    elif version == "0.3":
        found["properties"]["object_type"] = kind
    else:
        found["id"] = UUID
        found["properties"]["objectType"] = kind
    return found


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "a.geojson"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("version", ["0.2", "0.3", "0.5"])
def test_cells_and_regions_are_told_apart_in_files_of_every_version(write, version):
    content = [feature("annotation", 40, 20, 40, version), feature("root", 0, 0, 100, version)]
    content += [feature("cell", x, 4, 10, version) for x in range(4, 100, 20)]
    content += [feature("detection", 4, 44, 10, version), feature("tile", 80, 40, 20, version)]
    path = write(content)
    inside = tiles_in_regions(path, TILES, 20, SLIDE)
    assert TILES[inside].tolist() == [[40, 20], [60, 20], [40, 40], [60, 40]]
    cells = open_cell_map(path, SLIDE)
    drawn = cells.window((0, 0), 1.0, 100)[:60]
    assert (drawn > 0).sum() == 6 * 100 and drawn[5:13, 5:13].all() and not drawn[20:40, 40:80].any()
    assert any("skipped 2 shapes" in note and "annotation: 1, tile: 1" in note for note in cells.notes)


@pytest.mark.parametrize("version", ["0.2", "0.3", "0.5"])
@pytest.mark.parametrize("kind", JAVA)
def test_every_type_has_one_name(kind, version):
    found = feature(kind, 0, 0, version=version)
    assert object_type(found, found["properties"]) == kind


@pytest.mark.parametrize(
    ("id_", "properties", "expected"),
    [
        (None, {}, None),
        (UUID, {}, None),
        (7, {}, None),
        ("cell", {}, None),  # an identifier, no type
        ("PathCellObject", {"objectType": "annotation"}, "annotation"),
        (None, {"objectType": "tma_core"}, "tmaCore"),
        (None, {"objectType": "Annotation"}, "annotation"),
        (None, {"objectType": "unknown"}, None),
        (None, {"objectType": None, "object_type": "cell"}, "cell"),
        (None, {"objectType": "blob"}, "blob"),
        (None, {"type": "detection"}, "detection"),
        (None, {"type": "Tumor"}, None),  # other programs' class
    ],
)
def test_where_a_type_may_stand(id_, properties, expected):
    assert object_type({"id": id_}, properties) == expected


def test_what_was_passed_over_is_told_with_counts(write, caplog):
    content = [feature("annotation", 0, 0), feature("blob", 20, 0), feature("blob", 40, 0), feature("cell", 60, 0)]
    content += [{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}] * 3
    content += [feature("tmaCore", 40, 40, isMissing=True), feature("tmaCore", 60, 40, isMissing=False)]
    with caplog.at_level(logging.WARNING):
        inside = tiles_in_regions(write(content), TILES, 20, SLIDE)
    assert TILES[inside].tolist() == [[0, 0], [60, 40]]
    (line,) = caplog.messages
    assert "Point: 3, object of type blob: 2, missing TMA core: 1, object of type cell: 1" in line


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature("annotation", 0, 0), feature("annotation", 40, 20)]},
        [{"type": "FeatureCollection", "features": [feature("annotation", 0, 0)]}, feature("annotation", 40, 20)],
        {
            "type": "FeatureCollection",
            "features": [
                feature("annotation", 0, 0),
                {"type": "FeatureCollection", "features": [feature("annotation", 40, 20)]},
            ],
        },
        {"type": "GeometryCollection", "geometries": [geometry(0, 0), geometry(40, 20)]},
        {
            "type": "Feature",
            "geometry": {
                "type": "GeometryCollection",
                "geometries": [
                    geometry(0, 0),
                    {"type": "GeometryCollection", "geometries": [geometry(40, 20)]},
                ],
            },
            "properties": {"objectType": "annotation"},
        },
        [feature("annotation", 0, 0, childObjects=[feature("annotation", 40, 20)])],
        [geometry(0, 0), geometry(40, 20)],
    ],
)
def test_nesting_makes_no_difference(write, content):
    path = write(content)
    shapes, skipped = read_shapes(path)
    assert [shape.polygon[0][0].tolist() for shape in shapes] == [[0, 0], [40, 20]]
    assert skipped == {}
    assert TILES[tiles_in_regions(path, TILES, 20, SLIDE)].tolist() == [[0, 0], [40, 20]]


def test_parts_of_a_collection_that_are_no_polygons_are_counted(write):
    point = {"type": "Point", "coordinates": [1, 2]}
    mixed = {"type": "GeometryCollection", "geometries": [point, geometry(0, 0), point]}
    shapes, skipped = read_shapes(write([mixed, {"type": "GeometryCollection", "geometries": []}]))
    assert len(shapes) == 1
    assert skipped == {"Point": 2, "feature without geometry": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([{"type": "FeatureCollection"}], "no FeatureCollection with a list"),
        ([{"type": "GeometryCollection"}], "feature 0 is a GeometryCollection without geometries"),
        ([feature("annotation", 0, 0, childObjects=[3])], "feature 1 is not an object"),
        ([[feature("annotation", 0, 0)]], "feature 0 is not an object"),
    ],
)
def test_broken_nesting_is_one_line(write, content, told):
    path = write(content)
    with pytest.raises(InputError, match=told) as caught:
        list(read_geojson_features(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_deep_nesting_does_not_end_the_process(tmp_path):
    path = tmp_path / "a.geojson"
    for depth in (100, 200_000):
        opened = '{"type": "FeatureCollection", "features": [' * depth
        path.write_text(opened + json.dumps(geometry(0, 0)) + "]}" * depth)
        try:
            assert len(read_shapes(path)[0]) == 1
        except InputError as error:
            assert depth == 200_000 and "\n" not in str(error)
