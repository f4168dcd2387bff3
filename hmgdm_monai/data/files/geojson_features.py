"""Iterate over the features of a GeoJSON file, whatever their nesting, with the object types of all QuPath versions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmgdm_monai.errors import InputError

ROOT = "root"  # QuPath's object for the whole image
# Names in QuPath 0.4 and later; other versions use capitals, underscores, or names of Java classes.
_OBJECT_TYPES = {name.lower(): name for name in ("annotation", "detection", "cell", "tile", "tmaCore", ROOT)}


@dataclass(frozen=True)
class Feature:
    """One GeoJSON feature.

    Attributes:
        geometries: its geometries, each an object with `type`; empty if it has none.
        properties: its properties, unchanged.
        object_type: "annotation", "detection", "cell", "tile", "tmaCore", "root", any other text from the file, or
            None.
    """

    geometries: tuple[Mapping[str, Any], ...]
    properties: Mapping[str, Any]
    object_type: str | None


def read_geojson_features(path: Path) -> Iterator[Feature]:
    """Iterate over all features of a file, in file order.

    Accepted are a FeatureCollection, a plain list of features, a single feature, and geometries without properties.
    Nested collections, GeometryCollections and QuPath's child objects are flattened.

    Args:
        path: a file in UTF-8.

    Raises:
        InputError: the file does not exist or is not GeoJSON.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a GeoJSON file")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not GeoJSON ({_one_line(error)}); export it again") from error
    if not isinstance(content, list) and not (isinstance(content, dict) and "type" in content):
        raise InputError(f"{path}: not GeoJSON (no FeatureCollection and no list of features); export it again")
    waiting = content[::-1] if isinstance(content, list) else [content]
    number = 0
    while waiting:
        found = waiting.pop()
        if not isinstance(found, dict):
            raise InputError(f"{path}: not GeoJSON (feature {number} is not an object); export it again")
        if found.get("type") == "FeatureCollection":
            waiting += _listed(found.get("features"), path, "no FeatureCollection with a list of features")[::-1]
            continue
        feature = _feature(found, path, number)
        for name in ("childObjects", "children"):
            if isinstance(children := feature.properties.get(name), list):
                waiting += children[::-1]
        number += 1
        yield feature


def object_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    """QuPath's type of an object under one name for all versions; None if there is no type.

    QuPath 0.4 and later writes ``objectType`` in the properties, 0.3 ``object_type``, and 0.2 the name of a Java class
    as the feature's ``id``, where other programs and later versions write an identifier. ``type`` in the properties is
    also used if it is one of the known names.

    Args:
        feature: the feature.
        properties: its properties.
    """
    for name in ("objectType", "object_type"):
        if text := text_of(properties.get(name)):
            return _known(text) or (None if text.lower() == "unknown" else text)
    found = text_of(feature.get("id")) or ""
    return _known(text_of(properties.get("type")) or "") or (_known(found) if found.endswith("Object") else None)


def _known(text: str) -> str | None:
    plain = text.lower().replace("_", "")
    return _OBJECT_TYPES.get(plain) or _OBJECT_TYPES.get(plain.removeprefix("path").removesuffix("object"))


def _feature(found: Mapping[str, Any], path: Path, number: int) -> Feature:
    is_feature = found.get("type") == "Feature"
    properties = found.get("properties") if is_feature else None
    properties = properties if isinstance(properties, dict) else {}
    geometries: list[Mapping[str, Any]] = []
    waiting = [found.get("geometry") if is_feature else found]
    while waiting:
        geometry = waiting.pop()
        if not isinstance(geometry, dict):
            continue
        if geometry.get("type") == "GeometryCollection":
            parts = geometry.get("geometries")
            waiting += _listed(parts, path, f"feature {number} is a GeometryCollection without geometries")[::-1]
        else:
            geometries.append(geometry)
    return Feature(tuple(geometries), properties, object_type(found, properties))


def _listed(value: Any, path: Path, fault: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{path}: not GeoJSON ({fault}); export it again")
    return value


def text_of(value: Any) -> str | None:
    """Convert text or a number to text; None if it is empty."""
    return None if value is None or isinstance(value, dict | list) else str(value).strip() or None


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return " ".join(str(error).split())
