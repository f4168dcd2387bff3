"""Compare a map of nuclei with an annotated one, by objects and by pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class InstanceScores:
    """Agreement of predicted and annotated objects. Scores are NaN if neither map has an object.

    Attributes:
        predicted: number of objects in the prediction.
        annotated: number of objects in the annotation.
        matched: maximum number of one-to-one pairs whose intersection over union reaches the threshold.
        f1: 2 matched / (predicted + annotated).
        precision: matched / predicted; NaN without predicted objects.
        recall: matched / annotated; NaN without annotated objects.
        dice: 2 |P and A| / (|P| + |A|) of the foregrounds.
        aji: aggregated Jaccard index (Kumar et al., IEEE TMI 2017).
    """

    predicted: int
    annotated: int
    matched: int
    f1: float
    precision: float
    recall: float
    dice: float
    aji: float


def instance_scores(prediction: np.ndarray, annotation: np.ndarray, iou: float = 0.5) -> InstanceScores:
    """Compare two instance label maps.

    Args:
        prediction: (H, W) integer, 0 for background; object numbers may have gaps.
        annotation: (H, W) integer, 0 for background; object numbers may have gaps.
        iou: minimum intersection over union of a match, above 0 and at most 1.

    Raises:
        InputError: the maps have another shape or type, labels are negative, or the threshold is out of range.
    """
    prediction, annotation = np.asarray(prediction), np.asarray(annotation)
    for name, labels in (("prediction", prediction), ("annotation", annotation)):
        if labels.ndim != 2 or labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
            raise InputError(f"{name}: a label map is (H, W) of integers from 0, not {labels.shape} {labels.dtype}")
    if prediction.shape != annotation.shape:
        raise InputError(f"prediction {prediction.shape} and annotation {annotation.shape} differ in size")
    if not 0 < iou <= 1:
        raise InputError(f"iou must be above 0 and at most 1, not {iou}")

    first, second = _numbered(prediction), _numbered(annotation)
    n, m = int(first.max(initial=0)), int(second.max(initial=0))
    overlap = _overlaps(first, second, n, m)
    area_p, area_a = np.bincount(first.ravel(), minlength=n + 1)[1:], np.bincount(second.ravel(), minlength=m + 1)[1:]
    p, a, shared = overlap.row, overlap.col, overlap.data.astype(float)
    union = area_p[p] + area_a[a] - shared
    matched = _most_pairs(p, a, shared / union >= iou, n, m)
    return InstanceScores(
        predicted=n,
        annotated=m,
        matched=matched,
        f1=_ratio(2 * matched, n + m),
        precision=_ratio(matched, n),
        recall=_ratio(matched, m),
        dice=_ratio(2 * shared.sum(), area_p.sum() + area_a.sum()),
        aji=_aji(p, a, shared, union, area_p, area_a),
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Renumber the objects from 1 without gaps, background 0."""
    values, inverse = np.unique(labels, return_inverse=True)
    return inverse.reshape(labels.shape) + (0 if values.size and values[0] == 0 else 1)


def _overlaps(first: np.ndarray, second: np.ndarray, n: int, m: int):  # noqa: ANN202 - scipy is imported late
    """Sparse (n, m) matrix of the number of pixels that each pair of objects shares, each pair once."""
    from scipy.sparse import coo_array

    both = (first > 0) & (second > 0)
    rows, columns = first[both] - 1, second[both] - 1
    return coo_array((np.ones(len(rows), np.int64), (rows, columns)), shape=(n, m)).tocsr().tocoo()


def _most_pairs(p: np.ndarray, a: np.ndarray, good: np.ndarray, n: int, m: int) -> int:
    """Size of the largest one-to-one matching; it is unique for an IoU above 0.5, but not below."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not good.any():
        return 0
    graph = coo_array((np.ones(int(good.sum()), np.int8), (p[good], a[good])), shape=(n, m)).tocsr()
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def _aji(
    p: np.ndarray, a: np.ndarray, shared: np.ndarray, union: np.ndarray, area_p: np.ndarray, area_a: np.ndarray
) -> float:
    """Match each annotated object with the prediction of highest IoU; unused predictions are added to the union."""
    order = np.lexsort((shared / union, a))  # by annotated object, the best last
    best = order[np.flatnonzero(np.append(np.diff(a[order]), 1))] if len(order) else order
    unmet = np.ones(len(area_a), bool)
    unmet[a[best]] = False
    unused = np.ones(len(area_p), bool)
    unused[p[best]] = False
    whole = union[best].sum() + area_a[unmet].sum() + area_p[unused].sum()
    return _ratio(shared[best].sum(), whole)
