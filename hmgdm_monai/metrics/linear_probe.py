"""Linear probe: logistic regression on frozen embeddings, in folds grouped by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class ProbePredictions(NamedTuple):
    """Class names in order (K), and out-of-fold class probabilities (N, K), which sum to 1."""

    classes: np.ndarray
    probabilities: np.ndarray


def probe_predictions(
    embeddings: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    folds: int = 5,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> ProbePredictions:
    """Compute out-of-fold predictions of a logistic regression with balanced class weights.

    Folds are stratified by label and grouped, so that no group (patient, biopsy) is in both training and test side.
    Embeddings are standardized on each training side only. There, the inverse regularization C is selected by balanced
    accuracy in inner grouped folds.

    Args:
        embeddings: (N, D).
        labels: (N,) class names.
        groups: (N,) patients or biopsies.
        folds: number of outer folds; fewer if the rarest class has fewer groups.
        seed: seed of the folds.
        strengths: values of C to select from; with a single value there are no inner folds.

    Raises:
        InputError: there are fewer than two classes, or all samples of a class are in one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = np.asarray(labels), np.asarray(groups)
    classes = np.unique(labels)
    rarest = _fewest_groups(labels, groups)
    if len(classes) < 2 or rarest < 2:
        raise InputError(
            f"a probe needs two classes or more, each in two groups or more; got {len(classes)} classes, "
            f"the rarest in {rarest} groups"
        )

    def split(x: np.ndarray, y: np.ndarray, g: np.ndarray, count: int):
        usable = min(count, _fewest_groups(y, g))
        return list(StratifiedGroupKFold(max(2, usable), shuffle=True, random_state=seed).split(x, y, g))

    probabilities = np.zeros((len(labels), len(classes)))
    for train, test in split(embeddings, labels, groups, folds):
        # If a class has only one group on the training side, it cannot be split again; then the middle C is used.
        splittable = len(strengths) > 1 and _fewest_groups(labels[train], groups[train]) > 1
        inner = split(embeddings[train], labels[train], groups[train], 3) if splittable else []
        choices = strengths if splittable else strengths[len(strengths) // 2 :][:1]
        fitted, _ = fit_probe(embeddings[train], labels[train], inner, choices)
        columns = np.searchsorted(classes, fitted.classes_)
        probabilities[np.ix_(test, columns)] = fitted.predict_proba(embeddings[test])
    return ProbePredictions(classes, probabilities)


def fit_probe(
    embeddings: np.ndarray,
    labels: np.ndarray,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[Pipeline, float]:
    """Select the inverse regularization C on inner splits, then fit to all samples.

    Args:
        embeddings: (N, D); each fit standardizes them with its own samples.
        labels: (N,).
        splits: pairs of index arrays for fitting and for scoring by balanced accuracy; not used for a single C.
        strengths: values of C to select from, ascending; for equal scores, the strongest regularization is selected.

    Returns:
        Fitted scikit-learn pipeline of StandardScaler and LogisticRegression, and C.
    """
    best = strengths[0]
    if len(strengths) > 1:
        scores = [
            np.mean([_balanced_accuracy_of(_model(c), embeddings, labels, a, b) for a, b in splits]) for c in strengths
        ]
        best = strengths[int(np.argmax(scores))]
    return _model(best).fit(embeddings, labels), best


def balanced_accuracy(labels: Sequence[str] | np.ndarray, predictions: ProbePredictions) -> float:
    """Mean recall over classes, with the most probable class as prediction.

    Args:
        labels: (N,) class names.
        predictions: output of :func:`probe_predictions`.
    """
    labels = np.asarray(labels)
    chosen = predictions.classes[predictions.probabilities.argmax(1)]
    return float(np.mean([(chosen[labels == c] == c).mean() for c in predictions.classes]))


def auc_against(labels: Sequence[str] | np.ndarray, predictions: ProbePredictions, negative: str) -> float:
    """Area under the ROC curve for all other classes against the class ``negative``.

    Args:
        labels: (N,) class names.
        predictions: output of :func:`probe_predictions`.
        negative: name of the negative class.

    Raises:
        InputError: ``negative`` is not a class.
    """
    from sklearn.metrics import roc_auc_score

    if negative not in predictions.classes:
        raise InputError(
            f"{negative!r} is not a class of the labels; there are {', '.join(map(str, predictions.classes))}"
        )
    column = int(np.searchsorted(predictions.classes, negative))
    return float(roc_auc_score(np.asarray(labels) != negative, 1.0 - predictions.probabilities[:, column]))


def _fewest_groups(labels: np.ndarray, groups: np.ndarray) -> int:
    """Smallest number of groups that contain a class; 0 without labels."""
    return min((len(np.unique(groups[labels == c])) for c in np.unique(labels)), default=0)


def _model(strength: float) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000, tol=1e-3)
    )


def _balanced_accuracy_of(
    model: Pipeline, embeddings: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> float:
    chosen = model.fit(embeddings[train], labels[train]).predict(embeddings[test])
    return float(np.mean([(chosen[labels[test] == c] == c).mean() for c in np.unique(labels[test])]))
