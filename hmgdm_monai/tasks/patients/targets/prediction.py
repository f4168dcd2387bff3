"""Predictions for patients, of one model or of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for P patients.

    Attributes:
        values: (P, C) float64: a risk, the probability of each class, or a number.
        fitted: what the training side gave, by name, for example the median risk that separates risk groups.
        curves: (P, T) survival probabilities at ``fitted["times"]``; None for other targets.
        spread: (P, C) standard deviation over the models of an ensemble; None for one model.
    """

    values: np.ndarray
    fitted: Mapping[str, Any] = field(default_factory=dict)
    curves: np.ndarray | None = None
    spread: np.ndarray | None = None

    def to_json(self) -> dict[str, Any]:
        """Return values and curves as lists; what the training side gave is in the model file."""
        return {"values": self.values.tolist(), "curves": None if self.curves is None else self.curves.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], fitted: Mapping[str, Any]) -> Prediction:
        """Return the predictions of :meth:`to_json`."""
        curves = content["curves"]
        return cls(np.array(content["values"], float), fitted, None if curves is None else np.array(curves, float))


def mean_prediction(predictions: list[Prediction]) -> Prediction:
    """Return the mean over models, with the sample standard deviation between them.

    What one model's training side gave does not hold for an ensemble, so ``fitted`` is empty; the target fills it.

    Args:
        predictions: of each model, for the same patients.
    """
    values = np.stack([one.values for one in predictions])
    curves = [one.curves for one in predictions if one.curves is not None]
    return Prediction(
        values.mean(0),
        predictions[0].fitted if len(predictions) == 1 else {},
        np.mean(curves, 0) if curves else None,
        values.std(0, ddof=1) if len(predictions) > 1 else None,
    )
