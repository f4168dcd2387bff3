"""Conformal prediction (crepes): sets of classes and intervals of numbers that hold the truth with a known rate.

The promise (coverage) holds for patients exchangeable with the calibration patients, whatever the model is (Vovk,
Gammerman and Shafer, Algorithmic learning in a random world, 2005). Calibration patients must not have trained the
model; patients of an inner validation that chose the epoch are nearly so.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class SetOutcome:
    """Sets of classes for the test patients of one fold, and their classes.

    Attributes:
        label: (P,) int64, class of each patient.
        sets: (P, K) bool, whether the set of a patient holds a class.
    """

    label: np.ndarray
    sets: np.ndarray

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.label)

    def take(self, chosen: np.ndarray) -> SetOutcome:
        """Select some patients, with repetitions allowed."""
        return SetOutcome(self.label[chosen], self.sets[chosen])


@dataclass(frozen=True)
class IntervalOutcome:
    """Intervals for the test patients of one fold, and the true numbers.

    Attributes:
        value: (P,) true numbers.
        interval: (P, 2) lower and upper ends, which may be infinite.
    """

    value: np.ndarray
    interval: np.ndarray

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.value)

    def take(self, chosen: np.ndarray) -> IntervalOutcome:
        """Select some patients, with repetitions allowed."""
        return IntervalOutcome(self.value[chosen], self.interval[chosen])


def conformal_sets(
    calibration_label: np.ndarray,
    calibration_probability: np.ndarray,
    probability: np.ndarray,
    confidence: float = 0.9,
    by_class: bool = False,
) -> np.ndarray:
    """Predict sets of classes that hold the true class with at least the given rate.

    A class is in the set if 1 minus its probability is not among the largest such values of the calibration patients
    (for their true class). A set of one class is an answer; a set of several classes, or of none, is an abstention.
    With ``confidence / (1 - confidence)`` calibration patients or fewer, all sets hold all classes.

    Args:
        calibration_label: (N,) integers from 0 to K - 1.
        calibration_probability: (N, K).
        probability: (P, K) of new patients.
        confidence: wanted rate, in (0, 1).
        by_class: reach the rate within each true class, not only over all patients; needs enough calibration patients
            of each class.

    Returns:
        (P, K) bool.

    Raises:
        InputError: the confidence is out of range, or there are no calibration patients.
    """
    _check(confidence, len(calibration_label))
    label = np.asarray(calibration_label)
    strange = 1 - calibration_probability[np.arange(len(label)), label]
    if not by_class:
        sets = _crepes().ConformalClassifier().fit(strange).predict_set(1 - probability, **_settings(confidence))
        return np.asarray(sets, bool)
    columns = []
    for k in range(probability.shape[1]):
        model = _crepes().ConformalClassifier().fit(strange[label == k])
        columns.append(model.predict_set(1 - probability[:, k : k + 1], **_settings(confidence)))
    return np.concatenate(columns, 1).astype(bool)


def conformal_intervals(
    calibration_value: np.ndarray,
    calibration_prediction: np.ndarray,
    prediction: np.ndarray,
    confidence: float = 0.9,
) -> np.ndarray:
    """Predict intervals of one width that hold the true number with at least the given rate.

    With ``confidence / (1 - confidence)`` calibration patients or fewer, all intervals are infinite.

    Args:
        calibration_value: (N,) true numbers.
        calibration_prediction: (N,) predicted numbers.
        prediction: (P,) predicted numbers of new patients.
        confidence: wanted rate, in (0, 1).

    Returns:
        (P, 2) lower and upper ends.

    Raises:
        InputError: see :func:`conformal_sets`.
    """
    _check(confidence, len(calibration_value))
    residuals = np.asarray(calibration_value, float) - calibration_prediction
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the no. of calibration examples is too small")  # documented above
        model = _crepes().ConformalRegressor().fit(residuals)
        return np.asarray(model.predict_int(np.asarray(prediction, float), confidence=confidence))


def score_sets(fold: SetOutcome) -> dict[str, tuple[float, float]]:
    """Compute the scores of one fold and their weights among folds.

    - ``coverage``: share of patients whose set holds the true class.
    - ``set_size``: mean number of classes in a set.
    - ``answered``: share of patients with a set of one class.
    - ``answered_accuracy``: share of right answers among these; (nan, 0) if there is none. Weight: answered patients.

    Args:
        fold: sets and labels, P > 0.
    """
    holds = fold.sets[np.arange(len(fold)), fold.label]
    answered = fold.sets.sum(1) == 1
    count = float(len(fold))
    return {
        "coverage": (float(holds.mean()), count),
        "set_size": (float(fold.sets.sum(1).mean()), count),
        "answered": (float(answered.mean()), count),
        "answered_accuracy": (
            float(holds[answered].mean()) if answered.any() else float("nan"),
            float(answered.sum()),
        ),
    }


def score_intervals(fold: IntervalOutcome) -> dict[str, tuple[float, float]]:
    """Compute the scores of one fold and their weights among folds.

    - ``coverage``: share of patients whose interval holds the true number.
    - ``width``: mean width of finite intervals, in the unit of the numbers; (nan, 0) if there is none.

    Args:
        fold: intervals and numbers, P > 0.
    """
    low, high = fold.interval.T
    finite = np.isfinite(high - low)
    width = float((high - low)[finite].mean()) if finite.any() else float("nan")
    return {
        "coverage": (float(((low <= fold.value) & (fold.value <= high)).mean()), float(len(fold))),
        "width": (width, float(finite.sum())),
    }


def _settings(confidence: float) -> dict[str, object]:
    # Smoothed p-values are random; without smoothing the coverage is at least the wanted one.
    return {"confidence": confidence, "smoothing": False}


def _check(confidence: float, count: int) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence of conformal prediction must lie between 0 and 1, exclusive, not {confidence}")
    if count == 0:
        raise InputError("conformal prediction needs calibration patients; there are none")


def _crepes() -> ModuleType:
    with warnings.catch_warnings():  # crepes sets a filter for the whole process when it is imported
        import crepes
    return crepes
