"""GeoJSON as other programs write it becomes shapes, and shapes become pixels by a rule that can be checked."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from skimage.measure import points_in_poly

from hmgdm_monai.data.files.geojson import feature_collection, superpixel_polygons, write_geojson
from hmgdm_monai.data.files.geojson_reading import Shape, ShapeIndex, rasterize, read_shapes
from hmgdm_monai.errors import InputError

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [2, 4], [4, 4], [4, 2], [2, 2]]


@pytest.fixture
def write(tmp_path):
    def write(content, name="shapes.geojson"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def feature(coordinates, kind="Polygon", **properties):
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


@pytest.mark.parametrize("wrapped", [True, False])
def test_collections_and_bare_lists_read_alike(write, wrapped):
    features = [feature([SQUARE, HOLE], objectType="cell", classification={"name": "Tumor", "color": [1, 2, 3]})]
    shapes, skipped = read_shapes(write({"type": "FeatureCollection", "features": features} if wrapped else features))
    assert skipped == {}
    (shape,) = shapes
    assert (shape.class_name, shape.object_type, len(shape.polygon)) == ("Tumor", "cell", 2)
    assert np.array_equal(shape.polygon[0], SQUARE)
    assert np.array_equal(shape.polygon[1], HOLE)


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"classification": {"name": "Tumor"}}, "Tumor"),
        ({"classification": "Stroma"}, "Stroma"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"class": "Lymphocyte"}, "Lymphocyte"),
        ({"class": 3}, "3"),
        ({"classification": {"name": "A"}, "class": "B"}, "A"),
        ({"classification": None}, None),
        ({"classification": {}}, None),
        ({}, None),
    ],
)
def test_a_class_may_be_written_in_many_ways(write, properties, name):
    shapes, _ = read_shapes(write([feature([SQUARE], **properties)]))
    assert shapes[0].class_name == name


def test_pieces_of_a_multipolygon_share_class_and_feature(write):
    moved = (np.array(SQUARE) + 20).tolist()
    content = [feature([SQUARE]), feature([[SQUARE, HOLE], [moved]], "MultiPolygon", classification="Immune")]
    shapes, _ = read_shapes(write(content))
    assert [(shape.feature, shape.class_name, len(shape.polygon)) for shape in shapes] == [
        (0, None, 1),
        (1, "Immune", 2),
        (1, "Immune", 1),
    ]


def test_open_rings_are_closed_and_third_coordinates_dropped(write):
    shapes, _ = read_shapes(write([feature([[[*point, 5.0] for point in SQUARE[:-1]]])]))
    assert np.array_equal(shapes[0].polygon[0], SQUARE)


@pytest.mark.parametrize(
    "measurements",
    [
        {"Area": 4.5, "Note": "x", "Huge": 10**400, "Lost": float("nan")},
        [{"name": "Area", "value": 4.5}, {"name": ["odd"], "value": "x"}],
    ],
)
def test_measurements_are_kept_where_they_are_numbers(write, measurements):
    shapes, _ = read_shapes(write([feature([SQUARE], measurements=measurements)]))
    assert shapes[0].measurements == {"Area": 4.5}


def test_what_is_no_polygon_is_counted(write):
    content = [
        feature([1, 2], "Point"),
        feature([[1, 2], [3, 4]], "LineString"),
        feature([3, 2], "Point"),
        {"type": "Feature", "geometry": None, "properties": {}},
        feature([]),
        feature([[[0, 0], [1, 1], [0, 0]]]),
        feature([SQUARE]),
    ]
    shapes, skipped = read_shapes(write(content))
    assert [shape.feature for shape in shapes] == [6]
    assert skipped == {"Point": 2, "LineString": 1, "feature without geometry": 1, "polygon without area": 2}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not GeoJSON"),
        ("", "not GeoJSON"),
        ('{"a": 1}', "no FeatureCollection"),
        ('{"type": "FeatureCollection"}', "no FeatureCollection"),
        ("[1]", "feature 0 is not an object"),
        ([feature([SQUARE]), feature([[["a", 1], [2, 2], [3, 3], [4, 4]]])], "feature 1 has coordinates"),
        ([feature([[[0], [2], [3], [4]]])], "feature 0 has coordinates"),
        ([feature([[1, 2], [2, 2], [3, 3]])], "feature 0 has coordinates"),
        ([feature(3)], "feature 0 has coordinates"),
        ([feature([[[10**400, 1], [2, 2], [3, 3], [4, 4]]])], "feature 0 has coordinates"),
        ([feature([[{"x": 1}, [2, 2], [3, 3], [4, 4]]])], "feature 0 has coordinates"),
        ('[{"type": "Polygon", "coordinates": [[[0, NaN], [2, 2], [3, 3], [4, 4]]]}]', "feature 0 has coordinates"),
    ],
)
def test_a_bad_file_is_told_in_one_line(write, content, told):
    path = write(content)
    with pytest.raises(InputError, match=told) as caught:
        read_shapes(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_shapes(tmp_path / "none.geojson")
    (tmp_path / "binary.geojson").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not GeoJSON"):
        read_shapes(tmp_path / "binary.geojson")


def test_a_label_map_survives_the_way_through_a_file(tmp_path):
    """Our own export read back gives the same pixels, at any place and scale of the window."""
    labels = np.repeat(np.repeat(np.array([[0, 1, 1], [0, 2, 1], [0, 0, 3]]), 5, axis=0), 7, axis=1)
    polygons = superpixel_polygons(labels, (100, 40), 2.0)
    path = write_geojson(tmp_path / "a.geojson", feature_collection(polygons, {}, np.zeros((4, 3), np.uint8), "abcd"))
    index = ShapeIndex(read_shapes(path)[0])
    assert [shape.class_name for shape in index.shapes] == list("abcd")
    values = [10, 11, 12, 13]
    assert np.array_equal(index.rasterize(values, (100, 40), 2.0, labels.shape), labels + 10)
    double = np.repeat(np.repeat(labels, 2, axis=0), 2, axis=1) + 10
    assert np.array_equal(index.rasterize(values, (100, 40), 1.0, double.shape), double)
    assert np.array_equal(index.rasterize(values, (104, 46), 2.0, (12, 19)), labels[3:, 2:] + 10)
    beyond = index.rasterize(values, (90, 30), 2.0, 40)
    assert np.array_equal(beyond[5:20, 5:26], labels + 10)
    assert (beyond > 0).sum() == labels.size


def test_pixels_are_those_whose_center_is_inside():
    """Against scikit-image's test of points, on outlines of any form, with a hole."""
    draw = np.random.default_rng(0)
    for _ in range(20):
        angle = np.sort(draw.uniform(0, 2 * np.pi, 15))
        rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        outer = 16 + rim * draw.uniform(5, 20, (15, 1))
        hole = 16 + rim * 4
        outer, hole = (np.concatenate([ring, ring[:1]]) for ring in (outer, hole))
        drawn = rasterize([Shape([outer, hole])], [1], (0, 0), 1.0, 32)
        row, column = np.mgrid[:32, :32]
        centers = np.stack([column.ravel() + 0.5, row.ravel() + 0.5], axis=1)
        inside = points_in_poly(centers, outer) ^ points_in_poly(centers, hole)
        assert np.array_equal(drawn, inside.reshape(32, 32))


def test_later_shapes_overwrite_earlier_ones():
    square = np.array(SQUARE, float)
    shapes = [Shape([square]), Shape([square + 5])]
    drawn = rasterize(shapes, [1, 2], (0, 0), 1.0, 16)
    assert (drawn[7, 7], drawn[2, 2], drawn[12, 12], drawn[15, 15]) == (2, 1, 2, 0)
    assert drawn.dtype == np.int32


def test_values_must_be_one_for_each_shape():
    with pytest.raises(ValueError, match="as many values"):
        rasterize([Shape([np.array(SQUARE, float)])], [1, 2], (0, 0), 1.0, 8)


def test_no_shapes_give_an_empty_window():
    assert not rasterize([], [], (0, 0), 1.0, (3, 4)).any()


def test_a_window_of_many_cells_costs_what_lies_within():
    """100,000 cells: a window must take far less than drawing them all would."""
    side = 316
    corners = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 1, 2) * 40.0
    ring = np.array(SQUARE, float)
    index = ShapeIndex([Shape([ring + corner]) for corner in corners])
    values = np.ones(len(index.shapes), int)
    start = time.perf_counter()
    for _ in range(5):
        window = index.rasterize(values, (4000, 4000), 1.0, 256)
    assert (window > 0).sum() == 7 * 7 * 100
    assert (time.perf_counter() - start) / 5 < 0.5


@pytest.mark.parametrize("far", [1e308, -1e308, 1e20])
def test_coordinates_that_no_slide_has_are_one_line(tmp_path, far):
    ring = [[0, 0], [far, 0], [5, far], [0, 0]]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with pytest.raises(InputError, match="feature 0 has coordinates beyond"):
        read_shapes(path)
