from __future__ import annotations

import json

import numpy as np
import pytest
from lib.labels import TileLabel, read_labels

from hmgdm_monai.errors import InputError

CLASSES = ("normal", "tumor")


def written(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_label_of_an_image_and_labels_of_its_tiles(tmp_path):
    assert read_labels(written(tmp_path, {"label": "tumor"}), CLASSES) == [TileLabel(1, None)]
    tiles = {"tiles": [{"location": [512, 256.5], "label": "normal"}, {"location": [0, 0], "label": "tumor"}]}
    assert read_labels(written(tmp_path, tiles), CLASSES) == [TileLabel(0, (512, 256.5)), TileLabel(1, (0, 0))]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "is no JSON"),
        ("\x00", "is no JSON"),
        ([], "has no label in it"),
        ({"tiles": []}, "has no label in it"),
        ({"tiles": ["tumor"]}, "has no label in it"),
        ({"label": "tumour"}, "'tumour' is no class of the model; choose one of normal, tumor"),
        ({"label": ["tumor"]}, "is no class of the model"),
        ({"tiles": [{"location": [1, 2]}]}, "None is no class of the model"),
        ({"tiles": [{"location": [1], "label": "tumor"}]}, r"location must be \[x, y\]"),
        ({"tiles": [{"location": [1, True], "label": "tumor"}]}, r"location must be \[x, y\]"),
        ('{"tiles": [{"location": [1, NaN], "label": "tumor"}]}', r"location must be \[x, y\]"),
    ],
)
def test_a_bad_label_is_refused_in_one_line_that_names_the_image(tmp_path, content, line):
    with pytest.raises(InputError, match=line) as caught:
        read_labels(written(tmp_path, content), CLASSES, "of slide_7")
    assert "label of slide_7: " in str(caught.value)
    assert "\n" not in str(caught.value)


ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations Name="" X="0" Y="0" W="0" H="0">{}</Annotations></ASAP_Annotations>"""
POLYGON = """<Annotation Name="{}" Type="Polygon"><Coordinates><Coordinate Order="0" X="1" Y="2"/>
<Coordinate Order="1" X="9.5" Y="2"/><Coordinate Order="2" X="9.5" Y="7"/></Coordinates></Annotation>"""


@pytest.mark.parametrize("text", ["[" * 10**5, '{"tiles":' * 10**5])
def test_a_label_nested_without_end_is_no_json(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="is no JSON"):
        read_labels(tmp_path / "a.json", CLASSES)


def test_a_place_that_no_slide_has_is_refused(tmp_path):
    tile = {"tiles": [{"location": [10**400, 0], "label": CLASSES[0]}]}
    with pytest.raises(InputError, match="location must be"):
        read_labels(written(tmp_path, tile), CLASSES)


def test_polygons_of_asap_are_regions(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(ASAP.format(POLYGON.format("tumor") + POLYGON.format("normal")))
    labels = read_labels(path, CLASSES)
    assert [label.class_index for label in labels] == [1, 0]
    for label in labels:
        np.testing.assert_array_equal(label.corners_px, [[1, 2], [9.5, 2], [9.5, 7]])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("<a", "is no XML"),
        ('<!DOCTYPE a [<!ENTITY e "e">]><a>&e;</a>', "has a document type"),
        ("<a/>", "has no annotation in it; give regions a class of normal, tumor"),
        (ASAP.format(""), "has no annotation in it"),
        (ASAP.format(POLYGON.format("Tumor")), "'Tumor' is no class of the model"),
        (ASAP.format('<Annotation Name="tumor"/>'), "annotation 1 is no polygon of three corners or more"),
        (ASAP.format(POLYGON.format("tumor").replace('X="1"', 'X="a"')), "annotation 1 is no polygon"),
        (ASAP.format(POLYGON.format("tumor").replace('X="1"', 'X="nan"')), "annotation 1 is no polygon"),
        (ASAP.format(POLYGON.format("tumor").replace('X="1"', "")), "annotation 1 is no polygon"),
    ],
)
def test_bad_xml_is_refused_in_one_line(tmp_path, content, line):
    path = tmp_path / "a.xml"
    path.write_text(content)
    with pytest.raises(InputError, match=line) as caught:
        read_labels(path, CLASSES, "of a")
    assert "\n" not in str(caught.value)


def test_a_label_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="none.json: cannot be read"):
        read_labels(tmp_path / "none.json", CLASSES)
