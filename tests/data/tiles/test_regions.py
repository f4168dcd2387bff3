"""Which tiles lie in annotated regions."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmgdm_monai.data.files.geojson_reading import rasterize, read_shapes
from hmgdm_monai.data.tiles.regions import tiles_in_regions
from hmgdm_monai.errors import InputError

SLIDE = (100, 80)
TILES = np.array([[x, y] for y in range(0, 80, 10) for x in range(0, 100, 10)])


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def region(*rings, kind="annotation", name=None):
    properties = {} if kind is None else {"objectType": kind}
    if name is not None:
        properties["classification"] = {"name": name}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [list(r) for r in rings]},
        "properties": properties,
    }


@pytest.fixture
def taken(tmp_path):
    """Function (regions, classes) -> corners of the tiles of 10 px that are taken."""

    def taken(regions, classes=()):
        path = tmp_path / "regions.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": regions}))
        return TILES[tiles_in_regions(path, TILES, 10, SLIDE, classes)].tolist()

    return taken


def test_the_center_decides(taken):
    assert taken([region(box(14, 0, 26, 10))]) == [[10, 0], [20, 0]]
    assert taken([region(box(16, 0, 24, 10))]) == []
    assert taken([region(box(11, 1, 19, 9))]) == [[10, 0]]


def test_holes_and_ignored_areas_are_outside(taken):
    whole = region(box(0, 0, 40, 20), box(10, 0, 20, 10))
    assert len(taken([whole])) == 7
    assert [10, 0] not in taken([whole])
    ignored = region(box(30, 10, 40, 20), name="Ignore*")
    for regions in ([whole, ignored], [ignored, whole]):
        assert len(taken(regions)) == 6
        assert [30, 10] not in taken(regions)
    assert [10, 0] in taken([whole, region(box(10, 0, 20, 10), name="in the hole")])
    assert taken([whole, ignored], ["Ignore*"]) == [[30, 10]]


def test_only_the_classes_asked_for(taken):
    regions = [region(box(0, 0, 10, 10), name="Tumor"), region(box(20, 0, 30, 10), name="Stroma")]
    regions.append(region(box(40, 0, 50, 10)))
    assert taken(regions) == [[0, 0], [20, 0], [40, 0]]
    assert taken(regions, ["Tumor"]) == [[0, 0]]
    assert taken(regions, ["Tumor", "Stroma"]) == [[0, 0], [20, 0]]
    with pytest.raises(InputError, match=r"no annotation of class Nerve; classes in it are Stroma, Tumor, none"):
        taken(regions, ["Nerve"])


def test_detections_are_no_regions(taken):
    cells = [region(box(0, 0, 10, 10), kind=kind) for kind in ("cell", "detection", "tile")]
    assert taken([*cells, region(box(20, 0, 30, 10), kind=None), region(box(40, 0, 50, 10), kind="tmaCore")]) == [
        [20, 0],
        [40, 0],
    ]
    with pytest.raises(InputError, match="no annotation, only objects of type cell, detection, tile"):
        taken(cells)
    with pytest.raises(InputError, match="holds no polygon"):
        taken([])
    with pytest.raises(InputError, match="no annotation but those of class Ignore"):
        taken([region(box(0, 0, 10, 10), name="Ignore*")])


def test_regions_outside_of_the_slide_are_counted(taken, caplog):
    outside = [region(box(100, 0, 120, 10)), region(box(-20, 0, 0, 10))]
    with caplog.at_level(logging.WARNING):
        assert taken([*outside, region(box(0, 0, 10, 10))]) == [[0, 0]]
    assert "2 of 3 regions lie outside the slide" in caplog.text
    with pytest.raises(InputError, match=r"all its 2 regions lie outside the slide \(100 x 80 px\)"):
        taken(outside)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(3, 12), st.integers(0, 10_000))
def test_any_polygon_gives_what_is_drawn_of_it(tmp_path, corners, seed):
    """Tiles of 1 px agree with the pixels that the rasterizer draws."""
    ring = np.random.default_rng(seed).uniform(0, 30, (corners, 2))
    path = tmp_path / "any.geojson"
    path.write_text(json.dumps([region([*ring.tolist(), ring[0].tolist()])]))
    y, x = np.mgrid[:30, :30]
    inside = tiles_in_regions(path, np.stack([x.ravel(), y.ravel()], 1), 1, (30, 30))
    drawn = rasterize(read_shapes(path)[0], [1], (0, 0), 1, 30)
    np.testing.assert_array_equal(inside.reshape(30, 30), drawn == 1)
