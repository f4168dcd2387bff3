"""Label files of images: JSON that names the class of an image or of tiles of it, or ASAP's XML with polygons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from hmgdm_monai.errors import InputError
from lib.regions import LARGEST_PX


class TileLabel(NamedTuple):
    """A class for a tile: its index, and the tile's upper left corner in level-0 pixels; None: the whole image."""

    class_index: int
    location_px: tuple[float, float] | None


class RegionLabel(NamedTuple):
    """A class for the tiles whose center lies in a polygon: its index, and the corners (C, 2) in level-0 pixels."""

    class_index: int
    corners_px: np.ndarray


def read_labels(
    path: Path | str, classes: Sequence[str], name: str | None = None
) -> list[TileLabel] | list[RegionLabel]:
    """Read a label file.

    JSON is ``{"label": "tumor"}`` for an image that is a tile, or ``{"tiles": [{"location": [x, y], "label":
    "tumor"}, ...]}`` for tiles of a larger image, by the corners that ``/infer/wsi_v2`` answers. A file that ends in
    ``.xml`` holds ASAP annotations, which is what the QuPath extension of MONAI Label submits: each ``Annotation`` has
    its class as ``Name``.

    Args:
        path: of the file.
        classes: names that a label may have.
        name: how to call the file in messages; its own name where None.

    Returns:
        One label or more.

    Raises:
        InputError: neither JSON nor XML, no label in it, a label that is no class, or a place that is no pair of
            numbers.
    """
    name = Path(path).name if name is None else name
    if Path(path).suffix.lower() == ".xml":
        return _regions(path, classes, name)
    how = 'give {"label": CLASS} or {"tiles": [{"location": [x, y], "label": CLASS}]}'
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"label {name}: cannot be read ({error.strerror}); submit it again") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError, too
        raise InputError(f"label {name}: is no JSON; {how}") from error
    if isinstance(content, dict) and "label" in content:
        return [TileLabel(_index(content["label"], classes, name), None)]
    tiles = content.get("tiles") if isinstance(content, dict) else None
    if not isinstance(tiles, list) or not tiles or not all(isinstance(tile, dict) for tile in tiles):
        raise InputError(f"label {name}: has no label in it; {how}")
    return [
        TileLabel(_index(tile.get("label"), classes, name), _location(tile.get("location"), name)) for tile in tiles
    ]


def _regions(path: Path | str, classes: Sequence[str], name: str) -> list[RegionLabel]:
    try:
        _check_no_entities(path, name)
        found = ElementTree.parse(path).getroot().findall("./Annotations/Annotation")
    except OSError as error:
        raise InputError(f"label {name}: cannot be read ({error.strerror}); submit it again") from error
    except (ElementTree.ParseError, expat.ExpatError) as error:
        raise InputError(f"label {name}: is no XML ({error}); submit ASAP annotations or JSON") from error
    if not found:
        raise InputError(f"label {name}: has no annotation in it; give regions a class of {', '.join(classes)}")
    labels = []
    for number, annotation in enumerate(found, 1):
        points = annotation.findall("./Coordinates/Coordinate")
        try:
            corners = np.array([[float(point.get("X")), float(point.get("Y"))] for point in points]).reshape(-1, 2)
        except (TypeError, ValueError):
            corners = np.empty((0, 2))
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise InputError(f"label {name}: annotation {number} is no polygon of three corners or more; draw it again")
        labels.append(RegionLabel(_index(annotation.get("Name"), classes, name), corners))
    return labels


def _check_no_entities(path: Path | str, name: str) -> None:
    """Refuse a document type: its entities can make a small file take all memory, and ASAP writes none."""

    def refuse(*_: object) -> None:
        raise InputError(f"label {name}: has a document type (<!DOCTYPE ...>); submit ASAP annotations without one")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    with Path(path).open("rb") as file:
        parser.ParseFile(file)


def _index(label: object, classes: Sequence[str], name: str) -> int:
    if label not in classes:
        raise InputError(f"label {name}: {label!r:.80} is no class of the model; choose one of {', '.join(classes)}")
    return list(classes).index(label)


def _location(value: object, name: str) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(
            isinstance(part, int | float) and not isinstance(part, bool) and abs(part) <= LARGEST_PX for part in value
        )
    ):
        raise InputError(f"label {name}: location must be [x, y] in level-0 pixels, not {value!r:.80}")
    return float(value[0]), float(value[1])
