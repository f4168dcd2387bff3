"""Linear probe: what a logistic regression on frozen embeddings can tell, in folds grouped by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class ProbePredictions(NamedTuple):
    """Class names in order (K), and out-of-fold class probabilities (N, K), summing to 1."""

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
    """Out-of-fold predictions of a logistic regression with balanced class weights.

    Folds are stratified by label and grouped, so that no group (patient, biopsy) is on both sides. Embeddings are
    standardized on each training side alone; the inverse regularization C is chosen there by balanced accuracy in
    grouped folds of its own.

    Args:
        embeddings: (N, D).
        labels: (N,) class names.
        groups: (N,) patients or biopsies.
        folds: outer folds; fewer where the rarest class has fewer groups.
        seed: of the folds.
        strengths: values of C to choose from; a single one spares the inner folds.

    Raises:
        InputError: fewer than two classes, or a class that stands in one group alone.
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
        # A class left with one group on the training side can not be split again: then the middle strength stands.
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
    """Choose the inverse regularization C on inner splits, then fit to all samples.

    Args:
        embeddings: (N, D), standardized within by what each fit sees.
        labels: (N,).
        splits: pairs of index arrays, fitted and scored by balanced accuracy; not used where there is a single C.
        strengths: values of C to choose from; the strongest regularization wins a draw.

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
    """Mean recall over classes of the most probable class."""
    labels = np.asarray(labels)
    chosen = predictions.classes[predictions.probabilities.argmax(1)]
    return float(np.mean([(chosen[labels == c] == c).mean() for c in predictions.classes]))


def auc_against(labels: Sequence[str] | np.ndarray, predictions: ProbePredictions, negative: str) -> float:
    """Area under the ROC curve of "anything but ``negative``" against ``negative``.

    Raises:
        InputError: if ``negative`` is no class.
    """
    from sklearn.metrics import roc_auc_score

    if negative not in predictions.classes:
        raise InputError(
            f"{negative!r} is no class of the labels; there are {', '.join(map(str, predictions.classes))}"
        )
    column = int(np.searchsorted(predictions.classes, negative))
    return float(roc_auc_score(np.asarray(labels) != negative, 1.0 - predictions.probabilities[:, column]))


def _fewest_groups(labels: np.ndarray, groups: np.ndarray) -> int:
    """In how many groups the class that stands in fewest does; 0 without labels."""
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
