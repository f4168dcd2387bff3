"""Scores of predicted numbers, for one fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUMBER_SCORES = ("r2", "spearman", "mae")


@dataclass(frozen=True)
class NumberOutcome:
    """Numbers that one fold's model predicts for its test patients, and the true numbers.

    Attributes:
        value: (P,) true numbers.
        prediction: (P,) predicted numbers, in the same unit.
    """

    value: np.ndarray
    prediction: np.ndarray

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.value)

    def take(self, chosen: np.ndarray) -> NumberOutcome:
        """Select some patients, with repetitions allowed."""
        return NumberOutcome(self.value[chosen], self.prediction[chosen])


def score_numbers(fold: NumberOutcome) -> dict[str, tuple[float, float]]:
    """Compute the scores of one fold and their weights among folds (patients); (nan, 0) if a score is not defined.

    - ``r2``: 1 - sum of squared errors / sum of squared distances from the fold's mean; 0 for a model that predicts
      this mean, below 0 for a worse one. Not defined if all values are equal.
    - ``spearman``: rank correlation. Not defined if all values or all predictions are equal.
    - ``mae``: mean absolute error, in the unit of the values.

    Args:
        fold: values and predictions, P > 0.

    Example:
        >>> score_numbers(NumberOutcome(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])))["r2"]
        (0.5, 3.0)
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_absolute_error, r2_score

    value, prediction = fold.value, fold.prediction
    varies, predicts = np.ptp(value) > 0, np.ptp(prediction) > 0
    values = {
        "r2": float(r2_score(value, prediction)) if varies else float("nan"),
        "spearman": float(spearmanr(value, prediction).statistic) if varies and predicts else float("nan"),
        "mae": float(mean_absolute_error(value, prediction)),
    }
    return {name: (score, float(len(fold)) if np.isfinite(score) else 0.0) for name, score in values.items()}
