"""What the server answers: predictions and polygons, as plain numbers and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

# Okabe and Ito's colors for the color-blind, of which black comes last.
_PALETTE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def class_colors(classes: Sequence[str]) -> dict[str, list[int]]:
    """An RGB color of 0 to 255 for each class, always the same; from the eighth class on they come again."""
    return {name: list(_PALETTE[number % len(_PALETTE)]) for number, name in enumerate(classes)}


def prediction(classes: Sequence[str], probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Probabilities (K,) in the form of MONAI Label's classifiers: idx, label and score of each class."""
    return [
        {"idx": index, "label": name, "score": float(score)}
        for index, (name, score) in enumerate(zip(classes, probabilities, strict=True))
    ]


def tile_answers(
    classes: Sequence[str], locations: np.ndarray, side_px: float, probabilities: np.ndarray
) -> list[dict[str, Any]]:
    """Of each tile its place in level-0 pixels, its most probable class, and the probability of each.

    Args:
        classes: K names.
        locations: (N, 2) upper left corners.
        side_px: side of a tile.
        probabilities: (N, K).
    """
    return [
        {
            "location": [int(x), int(y)],
            "size": [round(float(side_px), 3)] * 2,
            "label": classes[int(scores.argmax())],
            "scores": {name: float(score) for name, score in zip(classes, scores, strict=True)},
        }
        for (x, y), scores in zip(locations.tolist(), probabilities, strict=True)
    ]


def annotation(classes: Sequence[str], tiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tiles as contours of MONAI Label's annotations, of which it writes DSA's JSON and ASAP's XML.

    Args:
        classes: K names.
        tiles: of :func:`tile_answers`.

    Returns:
        "elements": for each class that occurs its "contours", squares of four corners [x, y] in level-0 pixels,
        clockwise from the upper left; "labels": class -> RGB.
    """
    colors = class_colors(classes)
    elements = []
    for name in classes:
        contours = [_square(*tile["location"], *tile["size"]) for tile in tiles if tile["label"] == name]
        if contours:
            elements.append({"label": name, "contours": contours})
    return {"elements": elements, "labels": {element["label"]: colors[element["label"]] for element in elements}}


def escaped_for_xml(annotations: Mapping[str, Any]) -> dict[str, Any]:
    """An answer whose names may stand in ASAP's XML: MONAI Label writes them as they are."""

    def safe(text: object) -> str:
        return escape(str(text), {'"': "&quot;"})

    def of(part: Mapping[str, Any]) -> dict[str, Any]:
        shape = part["annotation"]
        elements = [{**element, "label": safe(element["label"])} for element in shape["elements"]]
        return {"annotation": {"elements": elements, "labels": {safe(k): v for k, v in shape["labels"].items()}}}

    head = {key: safe(annotations[key]) for key in ("name", "description", "model")}
    return {**annotations, **head, "annotations": [of(part) for part in annotations["annotations"]]}


def _square(x: float, y: float, width: float, height: float) -> list[list[float]]:
    left, top, right, bottom = (round(float(side), 3) for side in (x, y, x + width, y + height))
    return [[left, top], [right, top], [right, bottom], [left, bottom]]
