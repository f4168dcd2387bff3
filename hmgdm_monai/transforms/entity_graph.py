"""Build the entity graph from a tile and its superpixels, and cut windows from a tile."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_numpy
from monai.utils.enums import TransformBackends
from numba import njit

from hmgdm_monai.data.entity_graph import EntityGraph, mpp_tensor
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.region_adjacency import centroids_px, check_label_map, region_adjacency
from hmgdm_monai.transforms.superpixels import image_as_hwc, one_key_each

_SNAP_PX = 1024  # centers are rounded to 1/1024 px, so that float32 positions give the same windows as float64


def cut_windows(image_hwc: np.ndarray, centers_px: np.ndarray, size_px: int) -> np.ndarray:
    """Crop windows of a tile around given points; outside the border the tile is mirrored.

    A window of w px around x starts at column round(x - w / 2), so its center is at most half a pixel from x. The
    center of pixel (row, column) has the coordinates (column + 0.5, row + 0.5): x = 16 is the line between columns 15
    and 16, and the 32 columns around it are 0 to 31. If x - w / 2 is halfway between two whole numbers, it is rounded
    towards the center of the tile, so that the windows of a flipped tile are the flipped windows. (One case has no such
    rule: a point at the exact center of an odd number of columns with an even window; it is rounded up.) Windows are
    never shifted to stay inside, and may be larger than the tile. The border pixel is not repeated
    (d c b | a b c d | c b a).

    Args:
        image_hwc: (H, W, 3) uint8.
        centers_px: (N, 2) float, (x, y) in px.
        size_px: side w of a window in px.

    Returns:
        (N, 3, w, w) uint8.

    Raises:
        InputError: image or centers have another shape or type, or the size is below 1.
        InputError: an image or centers of another shape or type, or a size below 1.
    """
    image_hwc, centers_px = np.asarray(image_hwc), np.asarray(centers_px, dtype=np.float64)
    if image_hwc.ndim != 3 or image_hwc.shape[2] != 3 or image_hwc.dtype != np.uint8 or image_hwc.size == 0:
        raise InputError(f"A tile must be uint8 of shape (H, W, 3), not {image_hwc.dtype} {image_hwc.shape}.")
    if centers_px.ndim != 2 or centers_px.shape[1] != 2 or not np.isfinite(centers_px).all():
        raise InputError(f"Window centers must be finite (x, y) of shape (N, 2), not {centers_px.shape}.")
    if size_px < 1:
        raise InputError(f"A window must measure at least 1 px, not {size_px}.")
    height, width = image_hwc.shape[:2]
    planes = np.ascontiguousarray(image_hwc.transpose(2, 0, 1))  # no copy if it is a view of (3, H, W)
    tops, lefts = window_starts(centers_px[:, 1], height, size_px), window_starts(centers_px[:, 0], width, size_px)
    return _cut(planes, tops, lefts, size_px)


def window_centers_px(
    pos: torch.Tensor, edge_index: torch.Tensor, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centers of the windows of a graph: centroids for vertices, the midpoint of both ends for edges.

    Args:
        pos: (V, 2) float32, (x, y) / (width, height).
        edge_index: (2, E) int64.
        height: height of the tile in px.
        width: width of the tile in px.

    Returns:
        Centers of the vertices (V, 2) and of the edges (E, 2), float64, (x, y) in px.
    """
    vertices = pos.numpy().astype(np.float64) * (width, height)
    first, second = edge_index.numpy()
    return vertices, 0.5 * (vertices[first] + vertices[second])


def build_entity_graph(
    image: NdarrayOrTensor,
    label_map: NdarrayOrTensor,
    keep_tile: bool = True,
    edge_index: np.ndarray | None = None,
    mpp: float | None = None,
) -> EntityGraph:
    """Build the entity graph of a tile: one vertex for each entity, and the given edges or those of touching entities.

    Args:
        image: (3, H, W) uint8.
        label_map: (1, H, W) integer, labels 0 to V - 1, all present; -1 for no entity.
        keep_tile: whether the graph keeps ``image``, ``label_map`` and ``mpp``, which entity encoders read.
        edge_index: (2, E) integer, each undirected edge once, from a cutter; None connects labels that touch.
        mpp: microns per pixel of the tile; None if unknown.

    Returns:
        Graph with ``pos`` (V, 2) and ``edge_index`` (2, E), each edge once, first < second, sorted; with ``keep_tile``
        also ``image`` (1, 3, H, W) uint8, ``label_map`` (1, H, W) int32 and ``mpp`` (1,).

    Raises:
        InputError: image or label map have another shape or type or different sizes, labels have gaps, or edges have
            another shape or refer to labels that do not exist.
    """
    image_hwc = image_as_hwc(image)
    labels = check_label_map(convert_to_numpy(label_map), background=True)
    height, width = labels.shape
    if image_hwc.shape[:2] != (height, width):
        raise InputError(
            f"The tile is {image_hwc.shape[0]} x {image_hwc.shape[1]} px, its label map {height} x {width}: "
            "give the superpixels of this tile."
        )
    edges = region_adjacency(labels) if edge_index is None else np.asarray(edge_index)
    count = int(labels.max()) + 1
    if edges.ndim != 2 or len(edges) != 2 or edges.size and not (0 <= edges.min() and edges.max() < count):
        raise InputError(f"Edges must be (2, E) of labels 0 to {count - 1}; give those of this label map.")
    graph = EntityGraph(
        pos=torch.from_numpy((centroids_px(labels) / (width, height)).astype(np.float32)),
        edge_index=torch.from_numpy(edges.astype(np.int64)),
    )
    if keep_tile:
        graph.image = torch.from_numpy(np.ascontiguousarray(image_hwc.transpose(2, 0, 1)))[None]
        graph.label_map = torch.from_numpy(labels[None].copy())
        graph.mpp = mpp_tensor(mpp)
    return graph


class BuildEntityGraph(Transform):
    """Build an :class:`EntityGraph` from a tile (3, H, W) and superpixels (1, H, W); see :func:`build_entity_graph`.

    Args:
        keep_tile: whether the graph keeps image and label map.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, keep_tile: bool = True) -> None:
        self.keep_tile = keep_tile

    def __call__(  # type: ignore[override]  # MONAI's base class has a single argument
        self,
        image: NdarrayOrTensor,
        label_map: NdarrayOrTensor,
        edge_index: np.ndarray | None = None,
        mpp: float | None = None,
    ) -> EntityGraph:
        """Build the graph of image (3, H, W) uint8 and label map (1, H, W); see :func:`build_entity_graph`."""
        return build_entity_graph(image, label_map, self.keep_tile, edge_index, mpp)


class BuildEntityGraphd(MapTransform):
    """Dictionary version of :class:`BuildEntityGraph`; uses the keys ``edge_index`` and ``mpp`` if they exist.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        label_map_keys: keys of their label maps, one for each of ``keys``.
        graph_keys: output key of each graph, one for each of ``keys``.
        allow_missing_keys: skip missing keys instead of raising.
        keep_tile: whether graphs keep image and label map.
    """

    backend = BuildEntityGraph.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_map_keys: KeysCollection = "label_map",
        graph_keys: KeysCollection = "graph",
        allow_missing_keys: bool = False,
        keep_tile: bool = True,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_map_keys = one_key_each(self.keys, label_map_keys, "label_map_keys")
        self.graph_keys = one_key_each(self.keys, graph_keys, "graph_keys")
        self.build = BuildEntityGraph(keep_tile)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the graph of each tile added."""
        d = dict(data)
        for key, label_map_key, graph_key in self.key_iterator(d, self.label_map_keys, self.graph_keys):
            d[graph_key] = self.build(d[key], d[label_map_key], d.get("edge_index"), d.get("mpp"))
        return d


def window_starts(center: np.ndarray, length: int, size: int) -> np.ndarray:
    """First row or column of each window; halves are rounded towards the center of the tile.

    Args:
        center: (N,) coordinates of the window centers along one axis, in px.
        length: size of the tile along this axis, in px.
        size: side of a window, in px.

    Returns:
        (N,) int64; negative where a window begins outside the tile.
    """
    start = np.rint((center - size / 2) * _SNAP_PX) / _SNAP_PX
    return np.where(start <= (length - size) / 2, np.floor(start + 0.5), np.ceil(start - 0.5)).astype(np.int64)


@njit(cache=True, nogil=True)
def _cut(planes, tops, lefts, size):
    channels, height, width = planes.shape
    windows = np.empty((len(tops), channels, size, size), np.uint8)
    rows, columns = np.empty(size, np.int64), np.empty(size, np.int64)
    for n in range(len(tops)):
        _mirrored(tops[n], height, rows)
        _mirrored(lefts[n], width, columns)
        inside = lefts[n] >= 0 and lefts[n] + size <= width
        for c in range(channels):
            for i in range(size):
                source, target = planes[c, rows[i]], windows[n, c, i]
                if inside:  # the common case, a plain copy
                    start = lefts[n]
                    for j in range(size):
                        target[j] = source[start + j]
                else:
                    for j in range(size):
                        target[j] = source[columns[j]]
    return windows


@njit(cache=True, nogil=True)
def _mirrored(start, length, indices):
    """Fill ``indices`` with start, start + 1, ..., mirrored at both borders as often as necessary."""
    period = max(2 * length - 2, 1)
    for i in range(len(indices)):
        index = (start + i) % period
        indices[i] = index if index < length else period - index
