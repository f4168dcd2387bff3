"""Size, shape and stain of entities: properties of a cell in addition to the feature maps of a backbone."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.nuclei import eosin, hematoxylin

# Area is given as a diameter: latents are stored in half precision, which cannot represent the um^2 of a whole tile.
SHAPE_CHANNELS = (
    "diameter_um",
    "perimeter_um",
    "axis_ratio",
    "solidity",
    "hematoxylin_mean",
    "hematoxylin_std",
    "eosin_mean",
    "eosin_std",
)


def graph_shape_channels(graph: EntityGraph) -> tuple[Tensor, Tensor]:
    """Compute shape channels of the entities of a batch of B graphs, on the CPU.

    Args:
        graph: graph with ``image`` (B, 3, S, S), ``label_map`` (B, S, S), ``mpp`` (B,), ``pos`` and ``edge_index``.

    Returns:
        Channels of vertices (V, 8), see :func:`shape_channels`, and of edges (E, 8), the mean of both ends; on the
        graph's device.

    Raises:
        InputError: the scale of a tile is unknown.
    """
    mpp = graph.get("mpp")
    if mpp is None or not bool(torch.isfinite(mpp).all()):
        raise InputError(
            "shape_channels are measured in um, but the microns per pixel of a tile are unknown; fill in the "
            "manifest's column mpp, or set shape_channels false"
        )
    images = graph.image.round().clamp(0, 255).to(torch.uint8).cpu().numpy().transpose(0, 2, 3, 1)
    maps = graph.label_map.cpu().numpy()
    counts = torch.bincount(graph.vertex_batch, minlength=len(maps)).tolist()
    parts = [shape_channels(*one) for one in zip(maps, images, mpp.tolist(), counts, strict=True)]
    vertices = torch.from_numpy(np.concatenate(parts)).to(graph.pos.device)
    return vertices, 0.5 * (vertices[graph.edge_index[0]] + vertices[graph.edge_index[1]])


def shape_channels(label_map: np.ndarray, image: np.ndarray, mpp: float, count: int | None = None) -> np.ndarray:
    """Compute size, shape and stain of each entity of a tile.

    For an entity that crosses the tile's border, the visible part is measured, with the border as part of its outline.

    Args:
        label_map: (H, W) integer, labels 0 to V - 1, all present; -1 for no entity.
        image: (H, W, 3) uint8.
        mpp: microns per pixel.
        count: number of entities V; None computes it from the label map.

    Returns:
        (V, 8) float32: diameter of the disc of equal area (um); perimeter by Crofton's formula in four directions
        (um); ratio of the minor to the major axis of the ellipse with equal second moments, 1 for a disc; solidity,
        the area divided by the area of the convex hull, 1 for a convex shape; mean and standard deviation of
        hematoxylin, then of eosin (natural units of optical density, by the reference stain vectors).
    """
    labels = np.ascontiguousarray(label_map, np.int32)
    count = int(labels.max()) + 1 if count is None else count
    inside = labels >= 0
    own = labels[inside]
    area = np.bincount(own, minlength=count).astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(own, weights=values, minlength=count) / area

    y, x = (part.astype(np.float64) for part in np.nonzero(inside))
    x, y = x - mean(x)[own], y - mean(y)[own]
    xx, yy, xy = mean(x * x) + 1 / 12, mean(y * y) + 1 / 12, mean(x * y)  # a pixel is a square, not a point
    middle, spread = 0.5 * (xx + yy), np.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
    channels = [
        np.sqrt(4 * area / math.pi) * mpp,
        _perimeters_px(labels, count) * mpp,
        np.sqrt((middle - spread) / (middle + spread)),
        area / _hull_areas(labels, count),
    ]
    for stain in (hematoxylin, eosin):
        amount = stain(image)[inside].astype(np.float64)
        average = mean(amount)
        channels += [average, np.sqrt(mean((amount - average[own]) ** 2))]
    return np.stack(channels, axis=1).astype(np.float32)


def _perimeters_px(labels: np.ndarray, count: int) -> np.ndarray:
    """(V,) px: pi / 8 times the crossings of the outline with rows, columns and diagonals, which are denser."""
    padded = np.pad(labels, 1, constant_values=-1)
    total = np.zeros(count)
    pairs = (
        (padded[:, 1:], padded[:, :-1], 1.0),
        (padded[1:], padded[:-1], 1.0),
        (padded[1:, 1:], padded[:-1, :-1], math.sqrt(0.5)),
        (padded[1:, :-1], padded[:-1, 1:], math.sqrt(0.5)),
    )
    for here, there, spacing in pairs:
        differ = here != there
        for side in (here[differ], there[differ]):
            total += spacing * np.bincount(side + 1, minlength=count + 1)[1:]
    return math.pi / 8 * total


@njit(cache=True, nogil=True)
def _hull_areas(labels, count):
    """(V,) float64, px: area of the convex hull of each label's pixels, which count as squares."""
    height, width = labels.shape
    tops, bottoms = np.full(count, height, np.int64), np.full(count, -1, np.int64)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label >= 0:
                tops[label], bottoms[label] = min(tops[label], y), y
    starts = np.zeros(count + 1, np.int64)
    starts[1:] = np.cumsum(bottoms - tops + 1)
    left, right = np.full(starts[-1], width, np.int64), np.full(starts[-1], -1, np.int64)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label >= 0:
                row = starts[label] + y - tops[label]
                left[row], right[row] = min(left[row], x), max(right[row], x + 1)
    areas = np.empty(count)
    for label in range(count):
        rows = starts[label + 1] - starts[label]
        # The outermost x on each line between two rows; on the right with the opposite sign.
        west, east = np.full(rows + 1, width, np.int64), np.full(rows + 1, 1, np.int64)
        for row in range(rows):
            k = starts[label] + row
            for line in (row, row + 1):
                west[line], east[line] = min(west[line], left[k]), min(east[line], -right[k])
        areas[label] = -(_under_hull(west, width) + _under_hull(east, 1))
    return areas


@njit(cache=True, nogil=True)
def _under_hull(values, missing):
    """Integral of the largest convex function below the points (i, values[i]); ``missing`` values are skipped."""
    chain, size = np.empty(len(values), np.int64), 0
    for i in range(len(values)):
        if values[i] == missing:
            continue
        while size >= 2:
            a, b = chain[size - 2], chain[size - 1]
            if (values[b] - values[a]) * (i - a) < (values[i] - values[a]) * (b - a):
                break
            size -= 1
        chain[size] = i
        size += 1
    total = 0.0
    for k in range(size - 1):
        a, b = chain[k], chain[k + 1]
        total += 0.5 * (values[a] + values[b]) * (b - a)
    return total
