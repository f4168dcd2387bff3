"""Scores of class probabilities: scikit-learn's values, classes that are missing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    roc_auc_score,
)

from hmgdm_monai.metrics.class_scores import CLASS_SCORES, ClassOutcome, score_classes, score_grades


def drawn(number: int = 60, classes: int = 3, seed: int = 0, decimals: int = 9) -> ClassOutcome:
    rng = np.random.default_rng(seed)
    return ClassOutcome(rng.integers(0, classes, number), rng.dirichlet(np.ones(classes), number).round(decimals))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("decimals", [9, 1])  # one decimal gives many ties
def test_agrees_with_scikit_learn(classes: int, decimals: int) -> None:
    fold = drawn(classes=classes, decimals=decimals)
    label, probability, predicted = fold.label, fold.probability, fold.probability.argmax(1)
    onehot = np.eye(classes)[label]
    wanted = {
        "auc": roc_auc_score(onehot, probability, average="macro"),
        "balanced_accuracy": balanced_accuracy_score(label, predicted),
        "macro_f1": f1_score(label, predicted, average="macro"),
        "average_precision": average_precision_score(onehot, probability, average="macro"),
        "brier": sum(brier_score_loss(onehot[:, k], probability[:, k]) for k in range(classes)),
        "quadratic_kappa": cohen_kappa_score(label, predicted, weights="quadratic"),
    }
    found = score_grades(fold)
    assert {name: found[name][0] for name in wanted} == pytest.approx(wanted)
    assert {weight for _, weight in found.values()} == {60.0}
    assert {name: found[name] for name in CLASS_SCORES} == score_classes(fold)


def test_a_missing_class_is_left_out_of_the_means() -> None:
    fold = drawn(classes=3)
    without = fold.take(np.flatnonzero(fold.label != 1))
    areas = [roc_auc_score(without.label == k, without.probability[:, k]) for k in (0, 2)]
    precisions = [average_precision_score(without.label == k, without.probability[:, k]) for k in (0, 2)]
    found = score_classes(without)
    assert found["auc"] == pytest.approx((np.mean(areas), len(without)))
    assert found["average_precision"][0] == pytest.approx(np.mean(precisions))
    predicted = without.probability.argmax(1)
    recalls = [(predicted[without.label == k] == k).mean() for k in (0, 2)]
    assert found["balanced_accuracy"][0] == pytest.approx(np.mean(recalls))
    wanted = f1_score(without.label, predicted, labels=[0, 2], average="macro")
    assert found["macro_f1"][0] == pytest.approx(wanted)


def test_a_fold_of_one_class_has_no_auc() -> None:
    fold = drawn()
    alone = score_grades(fold.take(np.flatnonzero(fold.label == 2)))
    for name in ("auc", "average_precision"):
        assert np.isnan(alone[name][0]) and alone[name][1] == 0
    certain = score_grades(ClassOutcome(np.zeros(3, int), np.eye(3)[[0, 0, 0]]))
    assert np.isnan(certain["quadratic_kappa"][0]) and certain["quadratic_kappa"][1] == 0
    assert certain["balanced_accuracy"] == (1.0, 3.0) and certain["brier"] == (0.0, 3.0)


def test_perfect_and_order_of_patients() -> None:
    fold = drawn()
    perfect = score_classes(ClassOutcome(fold.label, np.eye(3)[fold.label]))
    assert [perfect[name][0] for name in CLASS_SCORES] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    order = np.random.default_rng(1).permutation(len(fold))
    for name, score in score_grades(fold.take(order)).items():
        assert score == pytest.approx(score_grades(fold)[name])


def test_a_far_grade_costs_more_than_the_next_one() -> None:
    label = np.array([0, 0, 1, 1, 2, 2])
    near, far = np.array([1, 0, 1, 1, 2, 2]), np.array([2, 0, 1, 1, 2, 2])
    kappas = [score_grades(ClassOutcome(label, np.eye(3)[which]))["quadratic_kappa"][0] for which in (near, far)]
    assert kappas[0] > kappas[1]
