"""Calibrated predictions and conformal sets or intervals, both fitted to inner validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hmgdm_monai.metrics.fold_scores import score_folds
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.target import Target


def calibrated_folds(target: Target, folds: Sequence[FoldPrediction]) -> list[FoldPrediction] | None:
    """Return calibrated predictions of a model; None if there are none.

    Args:
        target: what is predicted.
        folds: predictions of a model.
    """
    found = [target.calibrated(fold.prediction) for fold in folds]
    if any(one is None for one in found):
        return None
    return [replace(fold, prediction=one) for fold, one in zip(folds, found, strict=True) if one is not None]


def conformal_summary(
    target: Target, folds: Sequence[FoldPrediction], confidence: float, num_bootstrap: int, seed: int
) -> dict[str, Any] | None:
    """Return coverage and size of conformal sets or intervals on test patients; None if there are none.

    Args:
        target: what is predicted.
        folds: predictions of a model.
        confidence: wanted coverage.
        num_bootstrap: number of resamples for the intervals.
        seed: seed of the resamples.
    """
    outcomes = []
    for fold in folds:
        if (found := target.conformal(fold.prediction, confidence)) is None:
            return None
        outcomes.append(target.conformal_outcome(fold.values, found))
    return {"confidence": confidence, **score_folds(outcomes, target.score_conformal, num_bootstrap, seed)}
