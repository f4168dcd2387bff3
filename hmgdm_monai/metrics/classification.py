"""Classification scores, for one fold or over all folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hmgdm_monai.metrics.class_scores import balanced_accuracy, macro_auc, macro_f1

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")


def classification_metrics(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Compute accuracy, balanced accuracy, macro F1, macro AUC and the confusion matrix.

    A small fold may lack a class. Balanced accuracy and macro F1 are means over the classes among the labels. AUC is
    the mean of the one-vs-rest AUC over the classes with positive and negative labels, or None if there are none. If
    all classes are present, the values equal those of scikit-learn.

    Args:
        labels: (N,) integers from 0 to K - 1, N > 0.
        probabilities: (N, K); the most probable class is the prediction.
        classes: K class names.

    Returns:
        The four scores by name; ``tiles`` = N; ``recall`` by class name, None for a class that is not among the labels;
        ``confusion``: K lists of K counts, one row per label, one column per prediction.

    Example:
        >>> scores = classification_metrics(np.array([0, 1]), np.array([[0.9, 0.1], [0.4, 0.6]]), ["benign", "tumor"])
        >>> scores["accuracy"], scores["confusion"]
        (1.0, [[1, 0], [0, 1]])
    """
    from sklearn.metrics import accuracy_score, confusion_matrix

    labels, every = np.asarray(labels), np.arange(len(classes))
    predicted = probabilities.argmax(1)
    confusion = confusion_matrix(labels, predicted, labels=every)
    support = confusion.sum(1)
    there = every[support > 0]
    recall = confusion.diagonal()[there] / support[there]
    area = macro_auc(labels, probabilities)
    recalls = dict(zip(there.tolist(), recall.tolist(), strict=True))
    return {
        "tiles": len(labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": balanced_accuracy(labels, predicted),
        "macro_f1": macro_f1(labels, predicted),
        "macro_auc": area if np.isfinite(area) else None,
        "recall": {name: recalls.get(k) for k, name in enumerate(classes)},
        "confusion": confusion.tolist(),
    }


def spread_over_folds(folds: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None] | None]:
    """Mean and sample standard deviation (divisor n - 1) of each score over the folds that have it.

    The standard deviation of a single fold is None.
    """
    spread: dict[str, dict[str, float | None] | None] = {}
    for name in SCORES:
        values = [fold[name] for fold in folds if fold[name] is not None]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        spread[name] = {"mean": float(np.mean(values)), "sd": sd} if values else None
    return spread
