"""Polygons of a slide map for QuPath: neighboring superpixels with alike values are merged, and the file is bounded."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.geojson import feature_collection, object_ids, superpixel_polygons, write_geojson
from hmgdm_monai.data.stores.slide_map import SlideMap
from hmgdm_monai.visualize.heatmap import colors_of

logger = logging.getLogger(__name__)

BLOCK_PX = 1024  # polygons are cut at the borders of blocks of this side, so that memory stays bounded
# Number of steps of a leading value, and pixels of the map per pixel of the polygons; tried until the file is small.
PLANS = ((10, 1), (5, 1), (3, 1), (3, 2), (2, 4), (2, 8), (2, 16), (2, 32), (2, 64))


@dataclass(frozen=True)
class Leading:
    """What decides which superpixels are alike.

    Attributes:
        names: quantities whose values are cut into steps.
        spans: lowest and highest value of each; values outside count as the end.
        classes: class name -> quantity of its probability; superpixels of different most probable classes are never
            merged, and the steps are those of the largest probability. None without a classifier.
    """

    names: Sequence[str]
    spans: Mapping[str, tuple[float, float]]
    classes: Mapping[str, str] | None = None


def write_map_polygons(
    path: Path,
    found: SlideMap,
    leading: Leading,
    class_colors: Mapping[str, Sequence[int]],
    image_id: str,
    most_bytes: int,
) -> Path:
    """Write a GeoJSON of detections, one for each piece of tissue with alike values.

    The measurements of a piece are the means of all quantities over it. If the file would be larger than
    ``most_bytes``, fewer steps are used, then coarser pixels; the log tells it.

    Args:
        path: file to write.
        found: the map.
        leading: what decides which superpixels are alike.
        class_colors: class name -> RGB, 0 to 255.
        image_id: `ManifestRow.id`, for the ids of the objects.
        most_bytes: limit of the size of the file.

    Returns:
        Path of the file.

    Raises:
        InputError: the disk is full.
    """
    features: list[dict[str, Any]] = []
    for number, (steps, shrink) in enumerate(PLANS):
        last = number == len(PLANS) - 1
        tried = _features(found, leading, steps, shrink, class_colors, image_id, most_bytes, last)
        if tried is None:
            continue
        features = tried
        if number > 0:
            logger.warning(
                "%s: superpixels merged to %d polygons (values in %d steps, pixels of %g um) to stay below %g MB",
                path.name,
                len(features),
                steps,
                shrink * found.pixel_px * found.mpp,
                most_bytes / 1e6,
            )
        break
    return write_geojson(path, {"type": "FeatureCollection", "features": features})


def _features(
    found: SlideMap,
    leading: Leading,
    steps: int,
    shrink: int,
    class_colors: Mapping[str, Sequence[int]],
    image_id: str,
    most_bytes: int,
    last: bool,
) -> list[dict[str, Any]] | None:
    """Return the features of a plan; None if they are too large, but for the last plan those that fit."""
    features: list[dict[str, Any]] = []
    size = 0
    height, width = found.values.shape[1:]
    side = BLOCK_PX * shrink
    for top in range(0, height, side):
        for left in range(0, width, side):
            block = found.block(top, left, side, shrink)
            for feature in _block_features(found, block, (left, top), leading, steps, shrink, class_colors, image_id):
                size += len(json.dumps(feature, separators=(",", ":"))) + 1
                if size > most_bytes - 100:
                    if last:
                        logger.warning("%s: polygons beyond the limit of the file are left out", image_id)
                    return features if last else None
                features.append(feature)
    return features


def _block_features(
    found: SlideMap,
    block: np.ndarray,
    corner: tuple[int, int],
    leading: Leading,
    steps: int,
    shrink: int,
    class_colors: Mapping[str, Sequence[int]],
    image_id: str,
) -> list[dict[str, Any]]:
    """Return the features of one block (Q, h, w) of the map; corner in pixels of the map."""
    from scipy import ndimage
    from skimage.measure import label

    keys, best = alike(found.names, block, leading, steps)
    pieces = label(keys + 1, background=0, connectivity=1) - 1
    count = int(pieces.max()) + 1
    if count == 0:
        return []
    means = {
        name: ndimage.mean(np.nan_to_num(block[place]), pieces, np.arange(count))
        for place, name in enumerate(found.names)
    }
    pixel_px = found.pixel_px * shrink
    polygons = superpixel_polygons(pieces, (corner[0] * found.pixel_px, corner[1] * found.pixel_px), pixel_px)
    classes = None
    if leading.classes is not None:
        names = list(leading.classes)
        first = ndimage.minimum(best, pieces, np.arange(count)).astype(int)  # one class in all of a piece
        classes = [names[number] for number in first]
    shown = (*leading.names, *(leading.classes or {}).values())[0]
    ids = object_ids(image_id, [(*corner, shrink, steps, number, found.pixel_px) for number in range(count)])
    colors = colors_of(means[shown], leading.spans[shown])
    features: list[dict[str, Any]] = feature_collection(
        polygons, means, colors, classes, None if classes is None else class_colors, ids=ids
    )["features"]
    return features


def alike(names: Sequence[str], values: np.ndarray, leading: Leading, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the pixels of a map so that alike pixels have the same number.

    Args:
        names: Q names of the quantities.
        values: (Q, h, w); NaN where there is no tissue.
        leading: what decides which pixels are alike.
        steps: number of steps of each leading value.

    Returns:
        Numbers (h, w), -1 where there is no tissue, and the most probable class (h, w), 0 without a classifier.
    """
    shown = np.isfinite(values).all(0)
    keys, best = np.zeros(values.shape[1:], np.int64), np.zeros(values.shape[1:], np.int64)
    for name in leading.names:
        keys = keys * steps + step_of(values[names.index(name)], leading.spans[name], steps)
    if leading.classes is not None:
        shares = np.nan_to_num(values[[names.index(name) for name in leading.classes.values()]])
        best = shares.argmax(0)
        keys = (keys * len(shares) + best) * steps + step_of(shares.max(0), (0.0, 1.0), steps)
    return np.where(shown, keys, -1), best


def step_of(values: np.ndarray, span: tuple[float, float], steps: int) -> np.ndarray:
    """Step, 0 to ``steps`` - 1, of each value in a range of equal steps; NaN counts as the lowest."""
    share = (np.nan_to_num(values, nan=span[0]) - span[0]) / (span[1] - span[0])
    return np.clip((share * steps).astype(np.int64), 0, steps - 1)
