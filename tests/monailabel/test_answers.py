from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from lib.answers import annotation, class_colors, escaped_for_xml, prediction, tile_answers

CLASSES = ("a", 'b & "c" <d>', "e")
LOCATIONS = np.array([[0, 0], [341, 0], [0, 341]])
PROBABILITIES = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], np.float32)


def test_a_prediction_names_every_class_in_order():
    answer = prediction(CLASSES, PROBABILITIES[0])
    assert [(part["idx"], part["label"]) for part in answer] == list(enumerate(CLASSES))
    assert [part["score"] for part in answer] == pytest.approx([0.2, 0.7, 0.1])


def test_contours_are_the_tiles_squares_under_the_class_of_each():
    tiles = tile_answers(CLASSES, LOCATIONS, 341.3333, PROBABILITIES)
    shapes = annotation(CLASSES, tiles)
    assert [element["label"] for element in shapes["elements"]] == [CLASSES[0], CLASSES[1]]  # "e" occurs nowhere
    assert set(shapes["labels"]) == {CLASSES[0], CLASSES[1]}
    assert shapes["elements"][0]["contours"] == [[[341, 0], [682.333, 0], [682.333, 341.333], [341, 341.333]]]
    for element in shapes["elements"]:
        for corners in np.array(element["contours"]):
            x, y = corners.T
            area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
            assert area == pytest.approx(341.3333**2, rel=1e-4)  # positive: clockwise where y points down


def test_no_tiles_are_no_elements():
    assert annotation(CLASSES, []) == {"elements": [], "labels": {}}


def test_escaped_names_come_back_out_of_xml_as_they_were():
    answer = {
        "name": "n & n",
        "description": 'H&E "tiles"',
        "model": "<m>",
        "annotations": [{"annotation": annotation(CLASSES, tile_answers(CLASSES, LOCATIONS, 9, PROBABILITIES))}],
    }
    safe = escaped_for_xml(answer)
    names = [element["label"] for element in safe["annotations"][0]["annotation"]["elements"]]
    xml = f'<x name="{safe["name"]}" d="{safe["description"]}" m="{safe["model"]}" l="{names[1]}"/>'
    assert ElementTree.fromstring(xml).attrib == {
        "name": answer["name"],
        "d": answer["description"],
        "m": answer["model"],
        "l": CLASSES[1],
    }
    assert set(safe["annotations"][0]["annotation"]["labels"]) == set(names)  # a color is still found by its name


def test_neighboring_classes_differ_in_color():
    colors = list(class_colors([str(i) for i in range(20)]).values())
    assert all(a != b for a, b in zip(colors, colors[1:], strict=False))
