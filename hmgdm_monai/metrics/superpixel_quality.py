"""Agreement of superpixels with true borders: boundary recall, under-segmentation error, achievable accuracy."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter

from hmgdm_monai.errors import InputError


def boundary_recall(label_map: np.ndarray, truth: np.ndarray, tolerance_px: int = 2) -> float:
    """Share of the true borders that have a superpixel border nearby; higher is better.

    A pixel and its neighbor below or to the right are border pixels if their labels differ. This is only recall: many
    small superpixels score high, so compare at similar numbers of superpixels.

    Args:
        label_map: (H, W) or (1, H, W) integer, superpixels.
        truth: the same shape, integer, true segments (each label is a segment, including background).
        tolerance_px: maximum distance of a nearby border along rows and columns, in px.

    Returns:
        Share in [0, 1]; NaN if the truth has no border.
    """
    label_map, truth = _pair(label_map, truth)
    wanted = _borders(truth)
    if not wanted.any():
        return float("nan")
    near = maximum_filter(_borders(label_map), size=2 * tolerance_px + 1, mode="constant", cval=False)
    return float(near[wanted].mean())


def undersegmentation_error(label_map: np.ndarray, truth: np.ndarray) -> float:
    """Area of superpixels that crosses true borders, as a share of the tile; lower is better.

    For each superpixel P that overlaps a true segment S, the smaller of its parts inside and outside S counts:
    ``sum_S sum_P min(|P and S|, |P without S|) / (H W)`` (Neubert & Protzel, Superpixel Benchmark and Comparison,
    2012).

    Args:
        label_map: (H, W) or (1, H, W) integer, superpixels.
        truth: the same shape, integer, true segments (each label is a segment, including background).
    """
    inside = _overlaps(*_pair(label_map, truth))
    outside = inside.sum(axis=1, keepdims=True) - inside
    return float(np.minimum(inside, outside).sum() / inside.sum())


def achievable_segmentation_accuracy(label_map: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of the best labeling that assigns one true segment to each superpixel; higher is better.

    ``sum_P max_S |P and S| / (H W)`` (Liu et al., Entropy Rate Superpixel Segmentation, CVPR 2011).

    Args:
        label_map: (H, W) or (1, H, W) integer, superpixels.
        truth: the same shape, integer, true segments (each label is a segment, including background).
    """
    inside = _overlaps(*_pair(label_map, truth))
    return float(inside.max(axis=1).sum() / inside.sum())


def superpixel_quality(label_map: np.ndarray, truth: np.ndarray, tolerance_px: int = 2) -> dict[str, float]:
    """The three measures of this module by name.

    Args:
        label_map: (H, W) or (1, H, W) integer, superpixels.
        truth: the same shape, integer, true segments (each label is a segment, including background).
        tolerance_px: see :func:`boundary_recall`.
    """
    return {
        "boundary_recall": boundary_recall(label_map, truth, tolerance_px),
        "undersegmentation_error": undersegmentation_error(label_map, truth),
        "achievable_segmentation_accuracy": achievable_segmentation_accuracy(label_map, truth),
    }


def _pair(label_map: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pair = []
    for name, labels in (("label_map", label_map), ("truth", truth)):
        labels = np.asarray(labels)
        labels = labels[0] if labels.ndim == 3 and labels.shape[0] == 1 else labels
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer) or labels.size == 0:
            raise InputError(
                f"{name} must be a map of integers (H, W) or (1, H, W), not {labels.dtype} {labels.shape}."
            )
        pair.append(labels)
    if pair[0].shape != pair[1].shape:
        raise InputError(f"label_map {pair[0].shape} and truth {pair[1].shape} differ in shape; give maps of one tile.")
    return pair[0], pair[1]


def _borders(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool, pixels of which one of the four neighbors has another label."""
    borders = np.zeros(labels.shape, bool)
    across = labels[:, 1:] != labels[:, :-1]
    borders[:, 1:] |= across
    borders[:, :-1] |= across
    down = labels[1:] != labels[:-1]
    borders[1:] |= down
    borders[:-1] |= down
    return borders


def _overlaps(label_map: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(superpixels, true segments) int64, shared area of each pair in px."""
    rows, p = np.unique(label_map, return_inverse=True)
    columns, s = np.unique(truth, return_inverse=True)
    counts = np.bincount(p.ravel() * len(columns) + s.ravel(), minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns))
