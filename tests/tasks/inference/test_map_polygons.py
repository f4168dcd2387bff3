from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hmgdm_monai.data.files.geojson_reading import rasterize, read_shapes
from hmgdm_monai.data.files.qupath_rules import check_feature_collection
from hmgdm_monai.data.stores.slide_map import SlideMap
from hmgdm_monai.tasks.inference import map_polygons
from hmgdm_monai.tasks.inference.map_polygons import Leading, alike, step_of, write_map_polygons

PIXEL_PX = 8.0
COLORS = {"a": (255, 0, 0), "b": (0, 0, 255)}
CLASSES = {"a": "probability_a", "b": "probability_b"}


@pytest.fixture(scope="module")
def found() -> SlideMap:
    rng = np.random.default_rng(0)
    share = gaussian_filter(rng.normal(size=(70, 90)), 4)
    share = (share - share.min()) / np.ptp(share)
    values = np.stack([share, 1 - share, 5 * share]).astype(np.float32)
    values[:, 20:30, 10:40] = np.nan
    return SlideMap(("probability_a", "probability_b", "risk"), values, PIXEL_PX, 0.5, {"risk": (0.0, 5.0)}, {})


def write(found, path, classes=CLASSES, names=("risk",), most_bytes=10**7):
    return write_map_polygons(path, found, Leading(names, found.spans, classes), COLORS, "s", most_bytes)


def test_polygons_cover_the_tissue_and_hold_alike_values(found, tmp_path, monkeypatch):
    monkeypatch.setattr(map_polygons, "BLOCK_PX", 32)  # several blocks
    path = write(found, tmp_path / "m.geojson")
    collection = json.loads(path.read_text())
    check_feature_collection(collection)
    shapes, skipped = read_shapes(path)
    assert not skipped
    numbers = rasterize(shapes, range(1, len(shapes) + 1), (0, 0), PIXEL_PX, (70, 90))
    np.testing.assert_array_equal(numbers > 0, np.isfinite(found.values[0]))  # no gap, nothing outside
    for number, (shape, feature) in enumerate(zip(shapes, collection["features"], strict=True), 1):
        inside = numbers == number
        risk = found.values[2][inside]
        assert np.ptp(risk) <= 0.5 + 1e-6  # one step of ten over 0 to 5
        assert feature["properties"]["measurements"]["risk"] == pytest.approx(risk.mean(), rel=1e-4)
        best = "a" if found.values[0][inside].mean() >= 0.5 else "b"
        assert shape.class_name == best and feature["properties"]["classification"]["color"] == list(COLORS[best])


@pytest.mark.parametrize("most_bytes", [30_000, 8_000])
def test_superpixels_are_merged_until_the_file_is_small(found, tmp_path, caplog, most_bytes):
    whole = write(found, tmp_path / "whole.geojson")
    with caplog.at_level(logging.WARNING):
        path = write(found, tmp_path / "small.geojson", most_bytes=most_bytes)
    assert path.stat().st_size <= most_bytes < whole.stat().st_size
    assert "merged to" in caplog.text and "polygons" in caplog.text
    check_feature_collection(json.loads(path.read_text()))
    shapes, _ = read_shapes(path)
    covered = rasterize(shapes, [1] * len(shapes), (0, 0), PIXEL_PX, (70, 90)) > 0
    assert (covered | ~np.isfinite(found.values[0])).mean() > 0.99  # the tissue stays covered


def test_a_map_without_classes_has_none(found, tmp_path):
    features = json.loads(write(found, tmp_path / "m.geojson", None).read_text())["features"]
    assert all("classification" not in feature["properties"] for feature in features)
    assert len({feature["id"] for feature in features}) == len(features)


def test_steps_are_equal_and_ends_are_clipped():
    values = np.array([-1.0, 0.0, 0.24, 0.26, 0.99, 1.0, 7.0, np.nan])
    assert step_of(values, (0.0, 1.0), 4).tolist() == [0, 0, 0, 1, 3, 3, 3, 0]
    keys, best = alike(["p"], values[None, None], Leading(["p"], {"p": (0.0, 1.0)}), 4)
    assert keys.tolist() == [[0, 0, 0, 1, 3, 3, 3, -1]] and not best.any()
