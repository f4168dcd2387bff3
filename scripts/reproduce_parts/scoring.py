"""Scores of predictions per fold, averaged over folds, draws of folds and seeds; intervals and paired differences.

The models of different folds are never pooled: their probabilities have no common scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

METRICS = ("balanced_accuracy", "auc")


class GroupScores:
    """Balanced accuracy, and AUC of the other classes against the negative classes, for resampled groups.

    Both are sums over groups or pairs of groups. So a bootstrap sample of groups is a weighting of them.

    Args:
        probabilities: (N, K) of the tiles of a fold.
        labels: (N,) class of each tile.
        groups: (N,) group of each tile.
        negatives: negative classes.
        classes: (K,) in order; a fold may lack some of them.
        names: (G,) all groups in order, including those of other folds.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        negatives: Sequence[str],
        classes: np.ndarray,
        names: np.ndarray,
    ) -> None:
        here, place = np.unique(groups, return_inverse=True)
        self._here = np.searchsorted(names, here)
        right = classes[probabilities.argmax(1)] == labels
        member = np.eye(len(here))[place]  # (N, g)
        of_class = (labels[:, None] == classes).astype(float)  # (N, K)
        self._tiles, self._right = member.T @ of_class, member.T @ (of_class * right[:, None])  # (g, K)
        positive = ~np.isin(labels, negatives)
        value = probabilities[:, ~np.isin(classes, negatives)].sum(1)
        high, low = value[positive], value[~positive]
        wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
        self._wins = member[positive].T @ wins @ member[~positive]  # (g, g)
        self._pairs = np.outer(member[positive].sum(0), member[~positive].sum(0))

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return scores (R,) of R weightings (R, G) of all groups.

        Balanced accuracy is the mean recall of the classes with tiles. The AUC is NaN without positive or without
        negative tiles. Both are NaN without any tile.
        """
        w = weights[:, self._here]
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = (w @ self._right) / (w @ self._tiles)
            auc = ((w @ self._wins) * w).sum(1) / ((w @ self._pairs) * w).sum(1)
        return {"balanced_accuracy": mean_of_known(recall, 1), "auc": auc}


def scores_by_fold(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    negatives: Sequence[str],
    test_sides: Sequence[np.ndarray],
) -> list[GroupScores]:
    """Return the scores of each fold of a draw.

    Args:
        probabilities: (N, K) out-of-fold class probabilities.
        labels: (N,) class of each tile.
        groups: (N,) group of each tile.
        negatives: negative classes.
        test_sides: indices of each test split.
    """
    classes, names = np.unique(labels), np.unique(groups)
    return [
        GroupScores(probabilities[test], labels[test], groups[test], negatives, classes, names) for test in test_sides
    ]


@dataclass(frozen=True)
class Resamples:
    """Bootstrap samples: how often each group (R, G) and each training seed (R, S) is drawn."""

    groups: np.ndarray
    seeds: np.ndarray

    @classmethod
    def draw(cls, groups: int, seeds: int, draws: int = 2000, seed: int = 0) -> Resamples:
        """Draw R = ``draws`` samples; they are the same for all methods, so differences are paired."""
        rng = np.random.default_rng(seed)
        return cls(*(rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(float) for n in (groups, seeds)))


def summarize(scores: Sequence[Sequence[Sequence[GroupScores]]], resamples: Resamples) -> dict[str, dict[str, Any]]:
    """Return per metric: value of each seed, mean, standard deviation over seeds, 95 % interval, and bootstrap draws.

    Args:
        scores: scores of one method: seed -> draw of the folds -> fold.
        resamples: bootstrap samples of groups and seeds.
    """
    once = np.ones((1, resamples.groups.shape[1]))
    result = {}
    values, drawn = (_averaged(scores, weights) for weights in (once, resamples.groups))
    for metric in METRICS:
        each = [float(value) for value in values[metric][:, 0]]
        known = np.isfinite(drawn[metric])  # (S, R)
        weights = resamples.seeds.T * known
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = np.where(known, drawn[metric], 0.0) * weights
            draws = draws.sum(0) / weights.sum(0)
        result[metric] = {
            "seeds": each,
            "mean": float(mean_of_known(np.array(each), 0)),
            "sd": float(np.std(each, ddof=1)) if len(each) > 1 else None,
            "interval": _interval(draws),
            "draws": draws,
        }
    return result


def undefined_folds(scores: Sequence[Sequence[Sequence[GroupScores]]], groups: int) -> tuple[int, int]:
    """Return the number of folds whose test split lacks positives or negatives, and the number of all folds."""
    once = np.ones((1, groups))
    found = [np.isnan(fold(once)["auc"][0]) for draws in scores for folds in draws for fold in folds]
    return int(sum(found)), len(found)


def paired(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the difference of two methods in a metric of :func:`summarize`, for the same bootstrap samples.

    Returns:
        ``difference`` of the means, its 95 % ``interval``, ``share_above``: the fraction of samples in which ours is
        higher; and ``seeds``, the differences seed by seed.
    """
    draws = ours["draws"] - theirs["draws"]
    draws = draws[np.isfinite(draws)]
    return {
        "difference": ours["mean"] - theirs["mean"],
        "interval": _interval(draws),
        "share_above": float((draws > 0).mean()) if len(draws) else None,
        "seeds": [a - b for a, b in zip(ours["seeds"], theirs["seeds"], strict=True)],
    }


def mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean along an axis, without NaN values; NaN if all values are NaN."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0.0).sum(axis) / known.sum(axis)


def _averaged(scores: Sequence[Sequence[Sequence[GroupScores]]], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return (S, R) per metric: averaged over folds, then over draws."""
    result: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS}
    for draws in scores:
        of_draws = [[fold(weights) for fold in folds] for folds in draws]
        for metric in METRICS:
            per_draw = [mean_of_known(np.stack([fold[metric] for fold in folds]), 0) for folds in of_draws]
            result[metric].append(mean_of_known(np.stack(per_draw), 0))
    return {metric: np.stack(values) for metric, values in result.items()}


def _interval(draws: np.ndarray) -> list[float] | None:
    draws = draws[np.isfinite(draws)]
    return [float(value) for value in np.percentile(draws, (2.5, 97.5))] if len(draws) else None
