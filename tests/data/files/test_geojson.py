from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from skimage.measure import label

from hmgdm_monai.data.files.geojson import (
    feature_collection,
    object_ids,
    superpixel_polygons,
    tile_polygons,
    write_geojson,
)
from hmgdm_monai.data.files.geojson_reading import read_shapes
from hmgdm_monai.data.files.qupath_rules import check_feature_collection
from hmgdm_monai.errors import InputError


def signed_area(ring: np.ndarray) -> float:
    x, y = ring[:-1].T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def pixels_inside(polygon, height: int, width: int) -> np.ndarray:
    """(H, W) bool: pixels whose middle lies in the polygon, holes taken out (even-odd rule)."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros(height * width, int)
    for ring in polygon:
        inside += Outline(ring).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    return (inside % 2 == 1).reshape(height, width)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_outlines_hold_the_pixels_of_their_superpixel_and_no_others(height, width, seed):
    colors = np.random.default_rng(seed).integers(0, 3, (height, width))
    labels = label(colors, background=-1, connectivity=1) - 1
    for number, polygon in enumerate(superpixel_polygons(labels, (0, 0), 1)):
        assert all((ring[0] == ring[-1]).all() and len(ring) >= 5 for ring in polygon)
        assert all(len(np.unique(ring, axis=0)) == len(ring) - 1 for ring in polygon)  # no ring meets itself
        assert signed_area(polygon[0]) > 0
        assert all(signed_area(hole) < 0 for hole in polygon[1:])
        assert sum(map(signed_area, polygon)) == (labels == number).sum()
        np.testing.assert_array_equal(pixels_inside(polygon, height, width), labels == number)


def test_a_hole_that_touches_the_outside_by_a_corner_stays_a_hole():
    labels = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 0]])
    rings = superpixel_polygons(labels, (0, 0), 1)[0]
    assert [signed_area(ring) for ring in rings] == [8.0, -1.0]


def test_place_and_scale_are_those_of_level_0():
    polygon = superpixel_polygons(np.array([[0, 0, 1], [0, 0, 1]]), (1000, 50), 2.5)[1]
    np.testing.assert_allclose(polygon[0].min(0), [1005, 50])
    np.testing.assert_allclose(polygon[0].max(0), [1007.5, 55])
    tile = tile_polygons(np.array([[512, 0], [3, 9]]), 102.4)[1]
    np.testing.assert_allclose(tile[0], [[3, 9], [105.4, 9], [105.4, 111.4], [3, 111.4], [3, 9]])


@pytest.mark.parametrize("labels", [[[0, 1, 0]], [[0, 2]], [[0, 1], [1, 0]]])
def test_a_label_in_pieces_or_missing_is_refused(labels):
    with pytest.raises(InputError, match="superpixel"):
        superpixel_polygons(np.array(labels), (0, 0), 1)


def test_a_collection_is_what_qupath_reads(tmp_path):
    polygons = tile_polygons(np.array([[0, 0], [8, 0]]), 8)
    values = {"risk": np.array([0.25, np.nan]), "attention": np.array([1.0, 2.0])}
    collection = feature_collection(
        polygons, values, np.array([[1, 2, 3], [4, 5, 6]], np.uint8), ["b", "a"], {"a": (9, 9, 9), "b": (7, 7, 7)}
    )
    read = json.loads(write_geojson(tmp_path / "a.geojson", collection).read_text())
    assert read["type"] == "FeatureCollection"
    first, second = read["features"]
    assert first["type"] == "Feature"
    assert first["geometry"]["type"] == "Polygon"
    assert first["geometry"]["coordinates"] == [[[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]]
    assert first["properties"] == {
        "objectType": "detection",
        "color": [1, 2, 3],
        "measurements": {"risk": 0.25, "attention": 1.0},
        "classification": {"name": "b", "color": [7, 7, 7]},
    }
    assert second["properties"]["measurements"] == {"attention": 2.0}  # NaN is no JSON
    check_feature_collection(read)
    with pytest.raises(ValueError, match="as many"):
        feature_collection(polygons, {"risk": np.zeros(3)}, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="as many"):
        feature_collection(polygons, {}, np.zeros((2, 3)), ids=["a"])


def test_what_is_written_is_read_back_the_same(tmp_path):
    labels = np.array([[1, 0, 0, 3], [0, 2, 0, 3], [0, 0, 0, 3]])
    polygons = superpixel_polygons(labels, (100, 7), 2.345)
    ids = object_ids("slides/a", [(number,) for number in range(4)])
    collection = feature_collection(
        polygons, {"n": np.arange(4) / 3}, np.zeros((4, 3), np.uint8), list("abca"), ids=ids
    )
    path = write_geojson(tmp_path / "a.geojson", collection)
    check_feature_collection(json.loads(path.read_text()))
    shapes, skipped = read_shapes(path)
    assert skipped == {}
    assert [shape.class_name for shape in shapes] == list("abca")
    for number, (shape, polygon) in enumerate(zip(shapes, polygons, strict=True)):
        assert len(shape.polygon) == len(polygon)
        for found, ring in zip(shape.polygon, polygon, strict=True):
            np.testing.assert_allclose(found, ring, atol=0.0051)
        assert shape.measurements["n"] == pytest.approx(number / 3, rel=1e-5)


def test_ids_are_those_of_the_place_and_of_no_other():
    places = [(1_000_000 + x, y, 64.0) for x in range(20) for y in range(20)]
    ids = object_ids("slides/a", places)
    assert len(set(ids)) == 400
    assert object_ids("slides/a", places) == ids
    assert not set(ids) & set(object_ids("slides/b", places))


def test_a_slide_of_many_tiles_stays_a_file_that_can_be_opened(tmp_path):
    """Below 400 bytes a tile with three measurements and a class: 40 MB for a slide of 100,000."""
    coords = np.array([[x * 512, y * 512] for x in range(50) for y in range(40)]) + 100_000
    values = {name: np.random.default_rng(0).normal(size=2000) for name in ("risk", "attention", "pc1")}
    names, ids = [f"tile {n}" for n in range(2000)], object_ids("a", coords.tolist())
    classes, colors = ["tumor"] * 2000, {"tumor": (200, 100, 100)}
    collection = feature_collection(
        tile_polygons(coords, 512), values, np.full((2000, 3), 255), classes, colors, names, ids
    )
    path = write_geojson(tmp_path / "a.geojson", collection)
    assert path.stat().st_size < 2000 * 400
    assert b" " not in path.read_bytes().replace(b"tile ", b"")
