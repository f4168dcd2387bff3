from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from hmgdm_monai.metrics.classification import SCORES, classification_metrics, spread_over_folds

NAMES = ("a", "b", "c")


def drawn(number: int = 60, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, number), rng.dirichlet(np.ones(classes), number)


def test_agrees_with_scikit_learn():
    labels, probabilities = drawn()
    found = classification_metrics(labels, probabilities, NAMES)
    predicted = probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == labels).mean())
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["macro_auc"] == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert np.sum(found["confusion"]) == found["tiles"] == 60
    assert np.trace(found["confusion"]) == (predicted == labels).sum()
    labels, probabilities = drawn(classes=2)
    found = classification_metrics(labels, probabilities, NAMES[:2])
    assert found["macro_auc"] == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))


def test_perfect_and_inverted():
    labels, _ = drawn()
    perfect = classification_metrics(labels, np.eye(3)[labels], NAMES)
    assert [perfect[name] for name in SCORES] == [1.0] * 4
    wrong = classification_metrics(labels, np.eye(3)[(labels + 1) % 3], NAMES)
    assert (wrong["accuracy"], wrong["balanced_accuracy"], wrong["macro_f1"]) == (0.0, 0.0, 0.0)


def test_rows_are_labels_and_columns_predictions():
    found = classification_metrics(np.array([0, 0, 1]), np.eye(3)[[0, 2, 1]], NAMES)
    assert found["confusion"] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert found["recall"] == {"a": 0.5, "b": 1.0, "c": None}


def test_a_class_that_a_fold_lacks_does_not_count_and_a_lone_class_has_no_auc():
    labels = np.array([0, 0, 1, 1])
    found = classification_metrics(labels, np.eye(3)[labels], NAMES)
    assert [found[name] for name in SCORES] == [1.0] * 4
    lone = classification_metrics(np.array([1, 1]), np.eye(3)[[1, 0]], NAMES)
    assert lone["macro_auc"] is None and lone["balanced_accuracy"] == 0.5
    json.dumps(lone, allow_nan=False)
    spread = spread_over_folds([found, lone])
    assert spread["macro_auc"] == {"mean": 1.0, "sd": None}
    assert spread["balanced_accuracy"] == {"mean": 0.75, "sd": pytest.approx(np.std([1.0, 0.5], ddof=1))}
    assert spread_over_folds([lone])["macro_auc"] is None
