"""Predictions of one model for the test patients of one fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.tasks.patients.targets.prediction import Prediction


@dataclass(frozen=True)
class FoldPrediction:
    """Predictions of one model for the test patients of one fold, with their outcomes.

    Attributes:
        fold: number of the fold.
        patients: ids of the P test patients.
        values: (P, V) outcomes.
        prediction: predictions.
        train_count: number of training patients.
    """

    fold: int
    patients: tuple[str, ...]
    values: np.ndarray
    prediction: Prediction
    train_count: int
