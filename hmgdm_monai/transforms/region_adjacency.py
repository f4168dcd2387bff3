"""Region adjacency graph of superpixels, their centroids, and merging of neighbors with similar colors."""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

from hmgdm_monai.errors import InputError


def check_label_map(label_map: np.ndarray, background: bool = False) -> np.ndarray:
    """Convert a label map to contiguous (H, W) int32 and check that no label is missing.

    Args:
        label_map: (1, H, W) or (H, W) integer, labels 0 to V - 1, all present.
        background: whether -1, for no entity, is allowed.

    Raises:
        InputError: the map has another shape or type, a label is too low or has no pixel, or there is no label.
    """
    labels = label_map[0] if label_map.ndim == 3 and label_map.shape[0] == 1 else label_map
    if labels.ndim != 2 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"A label map must be integers of shape (1, H, W), not {label_map.dtype} {label_map.shape}; "
            "Superpixels makes one."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < -int(background) or not 0 <= high < labels.size:
        raise InputError(f"Labels run from {low} to {high}, not from 0 to V - 1; relabel the map without gaps.")
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    missing = np.flatnonzero(np.bincount(labels.ravel() + 1, minlength=high + 2)[1:] == 0)
    if len(missing):
        raise InputError(f"Label {missing[0]} of 0 to {high} has no pixel; relabel the map without gaps.")
    return labels


def region_adjacency(label_map: np.ndarray) -> np.ndarray:
    """Pairs of labels that touch: the undirected edges of the region adjacency graph.

    Two labels touch if a pixel of one is directly below, above, left or right of a pixel of the other; a common corner
    is not enough.

    Args:
        label_map: (H, W) integer, labels from 0; negative pixels touch nothing.

    Returns:
        (2, E) int64; each pair once, first < second, sorted by first, then second.

    Example:
        >>> region_adjacency(np.array([[0, 1], [0, 2]])).tolist()
        [[0, 0, 1], [1, 2, 2]]
    """
    n_labels = int(label_map.max()) + 1
    keys = np.unique(_touching_keys(np.ascontiguousarray(label_map, dtype=np.int32), n_labels))
    return np.stack([keys // n_labels, keys % n_labels])


def centroids_px(label_map: np.ndarray) -> np.ndarray:
    """Centroid of each label, (V, 2) float64 (x, y) in px; the center of pixel (row, column) is (column, row) + 0.5.

    So x in a flipped map is W - x, and a map of one label has its centroid at (W / 2, H / 2).

    Args:
        label_map: (H, W) integer, labels 0 to V - 1, all present; negative for no entity.

    Example:
        >>> centroids_px(np.array([[0, 1], [0, 1]])).tolist()
        [[0.5, 1.0], [1.5, 1.0]]
    """
    sums = _coordinate_sums(np.ascontiguousarray(label_map, dtype=np.int32), int(label_map.max()) + 1)
    return sums[:, :2] / (2.0 * sums[:, 2:])


def merge_similar_neighbors(image: np.ndarray, label_map: np.ndarray, threshold: float) -> np.ndarray:
    """Merge touching superpixels, most similar first, until all pairs differ in mean color by at least the threshold.

    The distance of two superpixels is the Euclidean distance of their mean RGB in [0, 1], divided by the number of
    channels; a merged superpixel has the mean color of all its pixels. The merging in HistoCartography, which the paper
    used (threshold 0.02), also compares color histograms; this function does not.

    Args:
        image: (H, W, 3) uint8.
        label_map: (H, W) int32, labels 0 to V - 1.
        threshold: pairs at this distance or above are not merged.

    Returns:
        (H, W) int32, labels 0 to V' - 1 in the order of the first pixel of each.
    """
    labels = label_map.ravel()
    sizes = list(np.bincount(labels))
    color_sums = list(np.stack([np.bincount(labels, weights=image[..., c].ravel()) for c in range(3)], axis=1))
    neighbors: list[set[int]] = [set() for _ in sizes]
    for i, j in region_adjacency(label_map).T.tolist():
        neighbors[i].add(j)
        neighbors[j].add(i)

    def distance(i: int, j: int) -> float:
        difference = color_sums[i] / sizes[i] - color_sums[j] / sizes[j]
        return float(np.linalg.norm(difference) / (255.0 * 3.0))

    # A merge makes a new region; heap entries of merged regions are skipped.
    owner = np.arange(len(sizes))
    alive = [True] * len(sizes)
    heap = [(distance(i, j), i, j) for i in range(len(sizes)) for j in neighbors[i] if i < j]
    heapq.heapify(heap)
    while heap and heap[0][0] < threshold:
        _, i, j = heapq.heappop(heap)
        if not (alive[i] and alive[j]):
            continue
        new = len(sizes)
        sizes.append(sizes[i] + sizes[j])
        color_sums.append(color_sums[i] + color_sums[j])
        alive[i] = alive[j] = False
        alive.append(True)
        owner[(owner == i) | (owner == j)] = new
        neighbors.append((neighbors[i] | neighbors[j]) - {i, j})
        for k in neighbors[new]:
            neighbors[k] -= {i, j}
            neighbors[k].add(new)
            heapq.heappush(heap, (distance(k, new), k, new))
    return number_by_first_pixel(owner[label_map])


def number_by_first_pixel(label_map: np.ndarray) -> np.ndarray:
    """Relabel any label map (H, W) to int32 0 to V - 1, in the order of first pixels row by row.

    Args:
        label_map: (H, W), any labels.
    """
    _, first, inverse = np.unique(label_map, return_index=True, return_inverse=True)
    names = np.empty(len(first), np.int32)
    names[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return names[inverse].reshape(label_map.shape)


@njit(cache=True, nogil=True)
def _touching_keys(labels, n_labels):
    """``low * n_labels + high`` of touching pixels with different labels; each such pair at least once."""
    height, width = labels.shape
    keys = np.empty(2 * height * width, np.int64)
    used = 0
    for y in range(height):
        last = np.int64(-1)
        for x in range(width):
            label = labels[y, x]
            if label < 0:
                continue
            if x + 1 < width and labels[y, x + 1] != label and labels[y, x + 1] >= 0:
                other = labels[y, x + 1]
                keys[used] = np.int64(min(label, other)) * n_labels + max(label, other)
                used += 1
            if y + 1 < height and labels[y + 1, x] != label and labels[y + 1, x] >= 0:
                other = labels[y + 1, x]
                key = np.int64(min(label, other)) * n_labels + max(label, other)
                if key != last:  # borders run along rows: most of their pixels repeat the previous pixel's pair
                    keys[used] = key
                    used += 1
                    last = key
    return keys[:used].copy()


@njit(cache=True, nogil=True)
def _coordinate_sums(labels, n_labels):
    """(V, 3) int64: sums of 2 x and 2 y of the pixel centers, and the pixel count; integers, so the sums are exact."""
    sums = np.zeros((n_labels, 3), np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] < 0:
                continue
            total = sums[labels[y, x]]
            total[0] += 2 * x + 1
            total[1] += 2 * y + 1
            total[2] += 1
    return sums
