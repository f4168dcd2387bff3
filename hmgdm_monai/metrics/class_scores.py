"""Scores of predicted class probabilities, for one fold.

The values are those of scikit-learn. The formulas are written out because a bootstrap computes them thousands of times,
and scikit-learn's functions take 20 times as long on a few dozen patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.metrics.calibration import brier_score, calibration_error

CLASS_SCORES = ("auc", "balanced_accuracy", "macro_f1", "average_precision", "brier", "ece")


@dataclass(frozen=True)
class ClassOutcome:
    """Class probabilities that one fold's model gives its test patients, and their classes.

    Attributes:
        label: (P,) int64, class of each patient, 0 to K - 1.
        probability: (P, K), rows sum to 1.
    """

    label: np.ndarray
    probability: np.ndarray

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.label)

    def take(self, chosen: np.ndarray) -> ClassOutcome:
        """Select some patients, with repetitions allowed."""
        return ClassOutcome(self.label[chosen], self.probability[chosen])


def score_classes(fold: ClassOutcome) -> dict[str, tuple[float, float]]:
    """Compute the scores of one fold and their weights among folds (patients); (nan, 0) if a score is not defined.

    - ``auc``: area under the ROC curve, each class against the rest, mean over the classes with patients in and out of
      the class. Not defined if all patients have one class.
    - ``balanced_accuracy``: mean recall over the classes among the labels.
    - ``macro_f1``: mean F1 over the classes among the labels.
    - ``average_precision``: each class against the rest, mean over the classes as for ``auc``.
    - ``brier`` and ``ece``: see :func:`~hmgdm_monai.metrics.calibration.brier_score` and
      :func:`~hmgdm_monai.metrics.calibration.calibration_error`.

    Args:
        fold: labels and probabilities, P > 0.

    Example:
        >>> fold = ClassOutcome(np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]))
        >>> score_classes(fold)["auc"]
        (1.0, 3.0)
    """
    label, probability = fold.label, fold.probability
    predicted = probability.argmax(1)
    values = {
        "auc": macro_auc(label, probability),
        "balanced_accuracy": balanced_accuracy(label, predicted),
        "macro_f1": macro_f1(label, predicted),
        "average_precision": macro_average_precision(label, probability),
        "brier": brier_score(label, probability),
        "ece": calibration_error(label, probability),
    }
    return {name: (value, float(len(fold)) if np.isfinite(value) else 0.0) for name, value in values.items()}


def score_grades(fold: ClassOutcome) -> dict[str, tuple[float, float]]:
    """Compute the scores of :func:`score_classes`, and ``quadratic_kappa`` for classes in order (grades).

    The quadratic weighted kappa is not defined if labels and predictions are all the same grade.

    Args:
        fold: labels and probabilities; class k is the k-th grade.
    """
    kappa = quadratic_kappa(fold.label, fold.probability.argmax(1))
    weight = float(len(fold)) if np.isfinite(kappa) else 0.0
    return {**score_classes(fold), "quadratic_kappa": (kappa, weight)}


def macro_auc(label: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve, one class against the rest, mean over classes with patients in and out; nan if none.

    Args:
        label: (N,) integers from 0 to K - 1.
        probability: (N, K); ties count one half.
    """
    from scipy.stats import rankdata

    inside, probability = _one_against_rest(label, probability)
    count = inside.sum(0)
    # Mann-Whitney: ranks of the class minus the smallest ranks it could have.
    above = (rankdata(probability, axis=0) * inside).sum(0) - count * (count + 1) / 2
    return _mean(above / (count * (len(label) - count)))


def macro_average_precision(label: np.ndarray, probability: np.ndarray) -> float:
    """Average precision, one class against the rest, mean over classes with patients in and out; nan if none.

    Args:
        label: (N,) integers from 0 to K - 1.
        probability: (N, K).
    """
    from scipy.stats import rankdata

    inside, probability = _one_against_rest(label, probability)
    # Precision at the threshold of each patient of the class; tied patients share a threshold.
    order = rankdata(-probability, method="max", axis=0)
    values = []
    for column, chosen in zip(order.T, inside.T, strict=True):
        thresholds = np.sort(column[chosen])
        values.append((np.searchsorted(thresholds, thresholds, side="right") / thresholds).mean())
    return _mean(np.array(values))


def balanced_accuracy(label: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes among the labels.

    Args:
        label: (N,) integers, N > 0.
        predicted: (N,) integers.
    """
    return float(np.mean([(predicted[label == k] == k).mean() for k in np.unique(label)]))


def macro_f1(label: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the classes among the labels.

    Args:
        label: (N,) integers, N > 0.
        predicted: (N,) integers.
    """
    classes = np.unique(label)[:, None]
    there, chosen = label == classes, predicted == classes
    return float((2 * (there & chosen).sum(1) / (there.sum(1) + chosen.sum(1))).mean())


def quadratic_kappa(label: np.ndarray, predicted: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights; nan if labels and predictions are all the same grade.

    Args:
        label: (N,) grades, integers.
        predicted: (N,) grades, integers.
    """
    from sklearn.metrics import cohen_kappa_score

    if len(np.unique(np.concatenate((label, predicted)))) < 2:
        return float("nan")
    # All grades in between count, as weights depend on the distance of grades.
    grades = np.arange(max(label.max(), predicted.max()) + 1)
    return float(cohen_kappa_score(label, predicted, labels=grades, weights="quadratic"))


def _one_against_rest(label: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, C) who is in each of the C classes with patients in and out, and (N, C) its probabilities."""
    here = [k for k in np.unique(label) if not (label == k).all()]
    return label[:, None] == np.array(here, int), probability[:, here]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
