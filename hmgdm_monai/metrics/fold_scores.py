"""Scores over the folds of a cross-validation: per fold, then averaged, with bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np

Scores = Mapping[str, tuple[float, float]]  # value and weight of each score; (nan, 0) if it is not defined


class FoldOfPatients(Protocol):
    """Predictions of one fold's model and the outcomes of its test patients, one entry per patient (or tile)."""

    def __len__(self) -> int:
        """Return the number of entries."""

    def take(self, chosen: np.ndarray) -> Self:
        """Select entries by index, with repetitions allowed."""


F = TypeVar("F", bound=FoldOfPatients)


def score_folds(
    folds: Sequence[F],
    score: Callable[[F], Scores],
    num_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Sequence[np.ndarray] | None = None,
) -> dict[str, dict[str, Any]]:
    """Compute scores over all folds, with bootstrap intervals over patients.

    Predictions of different folds come from different models and may have different scales, so patients are never
    compared across folds: each score is the mean over folds, weighted as ``score`` says. The interval is the percentile
    interval over resamples of the test patients within their folds. Models are not trained again, so it does not
    include the variation between trainings.

    Args:
        folds: predictions and outcomes of the folds.
        score: function of a fold that returns value and weight of each score, and (nan, 0) for a score that the fold
            does not define. It returns the same names for every fold.
        num_bootstrap: number of resamples.
        seed: seed of the resamples.
        confidence: level of the interval.
        groups: for each fold the patient of each entry (N,), if entries are tiles: then whole patients are drawn. None
            if each entry is a patient.

    Returns:
        For each score ``value``, ``low``, ``high`` (None if not defined), ``mean`` and ``sd`` over folds (unweighted)
        and ``folds`` (one value per fold).

    Example:
        >>> from hmgdm_monai.metrics.number_scores import NumberOutcome, score_numbers
        >>> fold = NumberOutcome(value=np.array([1.0, 2.0, 3.0]), prediction=np.array([1.0, 2.0, 4.0]))
        >>> round(score_folds([fold], score_numbers, num_bootstrap=0)["mae"]["value"], 3)
        0.333
    """
    by_fold = [score(fold) for fold in folds]
    draws = [
        [score(fold.take(chosen)) for fold, chosen in zip(folds, drawn, strict=True)]
        for drawn in _resamples(folds, num_bootstrap, seed, groups)
    ]
    return _summary(by_fold, draws, confidence)


def score_differences(
    first: Sequence[F],
    second: Sequence[F],
    score: Callable[[F], Scores],
    num_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
    groups: Sequence[np.ndarray] | None = None,
) -> dict[str, dict[str, Any]]:
    """Compute first minus second in each score, for two models of the same folds and patients.

    The difference is taken within each fold, then averaged over the folds in which both models define the score. The
    bootstrap draws the same patients for both models, so the interval is that of the paired difference.

    Args:
        first: folds of the first model.
        second: folds of the second model, with the same entries in the same order.
        score: see :func:`score_folds`.
        num_bootstrap: number of resamples.
        seed: seed of the resamples.
        confidence: level of the interval.
        groups: see :func:`score_folds`.

    Returns:
        For each score the keys of :func:`score_folds`, of the difference.
    """
    by_fold = [_difference(score(one), score(other)) for one, other in zip(first, second, strict=True)]
    draws = [
        [
            _difference(score(one.take(chosen)), score(other.take(chosen)))
            for one, other, chosen in zip(first, second, drawn, strict=True)
        ]
        for drawn in _resamples(first, num_bootstrap, seed, groups)
    ]
    return _summary(by_fold, draws, confidence)


def _resamples(
    folds: Sequence[FoldOfPatients], count: int, seed: int, groups: Sequence[np.ndarray] | None
) -> Iterator[list[np.ndarray]]:
    """Yield for each resample the drawn entries of each fold."""
    rng = np.random.default_rng(seed)
    if groups is None:
        for _ in range(count):
            yield [rng.integers(len(fold), size=len(fold)) for fold in folds]
        return
    members = [[np.flatnonzero(names == name) for name in np.unique(names)] for names in map(np.asarray, groups)]
    for _ in range(count):
        yield [
            np.concatenate([parts[place] for place in rng.integers(len(parts), size=len(parts))]) for parts in members
        ]


def _difference(one: Scores, other: Scores) -> Scores:
    return {name: (one[name][0] - other[name][0], min(one[name][1], other[name][1])) for name in one}


def _summary(by_fold: Sequence[Scores], draws: Sequence[Sequence[Scores]], confidence: float) -> dict[str, Any]:
    tail = 50 * (1 - confidence)
    result = {}
    for name in by_fold[0]:
        values = np.array([scores[name][0] for scores in by_fold])
        there = values[np.isfinite(values)]
        drawn = np.array([_weighted([scores[name] for scores in resampled]) for resampled in draws])
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
        result[name] = {
            "value": _or_none(_weighted([scores[name] for scores in by_fold])),
            "low": _or_none(low),
            "high": _or_none(high),
            "mean": _or_none(there.mean() if len(there) else np.nan),
            "sd": _or_none(there.std(ddof=1) if len(there) > 1 else np.nan),
            "folds": [_or_none(value) for value in values],
        }
    return result


def _weighted(scores: Sequence[tuple[float, float]]) -> float:
    values, weights = np.array(scores, float).T
    there = weights > 0
    return float(np.average(values[there], weights=weights[there])) if there.any() else float("nan")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
