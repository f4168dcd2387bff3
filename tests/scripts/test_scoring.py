"""Scores per fold, their intervals and paired differences, against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
from reproduce_parts import folds, probes, scoring
from reproduce_parts.corruption import CLEAN

from hmgdm_monai.errors import InputError

CLASSES = np.array(["a", "b", "benign"])


@pytest.fixture
def labeled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, groups and probabilities of 60 tiles: 12 groups of unequal size, mostly of one class."""
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(12, size=60))
    labels = np.where(rng.random(60) < 0.8, groups % 3, rng.integers(3, size=60))
    probabilities = rng.dirichlet(np.ones(3), 60) + 0.5 * np.eye(3)[labels]
    probabilities = np.round(probabilities / probabilities.sum(1, keepdims=True), 1)  # ties, too
    return CLASSES[labels], np.array([f"g{g:02d}" for g in groups]), probabilities


def by_fold(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int = 0) -> list:
    sides = [test for _, test in folds.grouped_folds(labels, groups, seed)]
    return scoring.scores_by_fold(probabilities, labels, groups, ["benign"], sides)


def test_scores_of_weighted_groups_equal_those_of_repeated_tiles(labeled) -> None:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    labels, groups, probabilities = labeled
    scores = scoring.GroupScores(probabilities, labels, groups, ["benign"], CLASSES, np.unique(groups))
    weights = scoring.Resamples.draw(12, 2, 20).groups
    assert weights.shape == (20, 12) and np.all(weights.sum(1) == 12)
    found = scores(weights)
    for row, accuracy, auc in zip(weights, found["balanced_accuracy"], found["auc"], strict=True):
        often = dict(zip(np.unique(groups), row.astype(int), strict=True))
        rows = np.repeat(np.arange(60), [often[group] for group in groups])
        y, p = labels[rows], probabilities[rows]
        assert accuracy == pytest.approx(balanced_accuracy_score(y, CLASSES[p.argmax(1)]))
        assert auc == pytest.approx(roc_auc_score(y != "benign", p[:, 0] + p[:, 1]))


def test_metrics_are_those_of_each_fold_averaged_and_not_of_all_predictions_pooled(labeled) -> None:
    from sklearn.metrics import roc_auc_score

    labels, groups, probabilities = labeled
    sides = [test for _, test in folds.grouped_folds(labels, groups, 0)]
    shifted = probabilities.copy()
    for number, test in enumerate(sides):  # another scale in each fold, the same order within
        shifted[test] = shifted[test] * 0.5**number
    resamples = scoring.Resamples.draw(12, 1, 100)
    found = scoring.summarize([[by_fold(shifted, labels, groups)]], resamples)["auc"]
    value = shifted[:, 0] + shifted[:, 1]
    each = [roc_auc_score(labels[test] != "benign", value[test]) for test in sides]
    assert found["mean"] == pytest.approx(np.mean(each))
    assert found["mean"] != pytest.approx(roc_auc_score(labels != "benign", value), abs=0.01)
    assert found["interval"][0] < found["mean"] < found["interval"][1] and found["sd"] is None


def test_a_fold_without_a_class_has_no_auc_is_left_out_and_counted() -> None:
    labels = np.array(["a", "benign", "a", "a"])
    groups = np.array(["g", "g", "h", "h"])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    scores = scoring.scores_by_fold(probabilities, labels, groups, ["benign"], [np.array([0, 1]), np.array([2, 3])])
    found = scoring.summarize([[scores]], scoring.Resamples.draw(2, 1, 200))
    assert found["auc"]["mean"] == 1 and found["auc"]["interval"] == [1, 1]
    assert found["balanced_accuracy"]["mean"] == pytest.approx((1 + 0.5) / 2)
    assert scoring.undefined_folds([[scores]], 2) == (1, 2)


def test_a_method_equals_itself_and_a_better_one_is_above_in_every_draw(labeled) -> None:
    labels, groups, _ = labeled
    right = np.eye(3)[np.searchsorted(CLASSES, labels)]
    resamples = scoring.Resamples.draw(12, 2, 50)
    good, bad = (
        scoring.summarize([[by_fold(p, labels, groups, seed)] for seed in (0, 1)], resamples)["auc"]
        for p in (right, 1 - right)
    )
    assert good["mean"] == 1 and good["sd"] == 0 and good["interval"] == [1, 1] and bad["mean"] < 0.5
    same = scoring.paired(good, good)
    assert same["difference"] == 0 and same["interval"] == [0, 0] and same["share_above"] == 0
    assert scoring.paired(good, bad)["share_above"] == 1


def test_an_interval_is_over_seeds_too(labeled) -> None:
    labels, groups, probabilities = labeled
    right = np.eye(3)[np.searchsorted(CLASSES, labels)]
    one = scoring.Resamples(np.ones((200, 12)), scoring.Resamples.draw(12, 2, 200).seeds)  # groups stay as they are
    found = scoring.summarize([[by_fold(p, labels, groups)] for p in (right, 1 - right)], one)["auc"]
    assert found["interval"] == [pytest.approx(min(found["seeds"])), pytest.approx(max(found["seeds"]))]
    assert found["sd"] == pytest.approx(np.std(found["seeds"], ddof=1))


def test_telling_features_score_full_marks_and_noise_does_not(labeled) -> None:
    labels, groups, _ = labeled
    telling = np.eye(3)[np.searchsorted(CLASSES, labels)] + 0.01 * np.arange(60)[:, None] / 60
    found = probes.probe_predictions({CLEAN: telling, "swapped": telling[:, [1, 2, 0]]}, labels, groups, 0)
    resamples = scoring.Resamples.draw(12, 1, 2)

    def accuracy(name: str) -> float:
        return scoring.summarize([[by_fold(found[name], labels, groups)]], resamples)["balanced_accuracy"]["mean"]

    assert set(found) == {*probes.PROBES, "swapped"}
    assert all(accuracy(name) == 1 for name in probes.PROBES) and accuracy("swapped") < 0.1
    assert all(np.allclose(p.sum(1), 1) for p in found.values())
    noise = np.random.default_rng(1).normal(size=(60, 4))
    found = probes.probe_predictions({CLEAN: noise}, labels, groups, 0)
    assert accuracy("linear") < 0.7


def test_few_labeled_groups_still_have_every_class(labeled) -> None:
    labels, groups, _ = labeled
    for seed in range(20):
        some = folds.some_groups(labels, groups, 0.01, np.random.default_rng(seed))
        assert set(labels[np.isin(groups, some)]) == set(labels) and len(some) <= 3
    half = folds.some_groups(labels, groups, 0.5, np.random.default_rng(0))
    assert len(half) == len(set(half)) == 6
    train = np.arange(40)
    assert folds.some_of(train, labels, groups, 1.0, 0) is train
    some = folds.some_of(train, labels, groups, 0.2, 0, 1)
    assert set(some) < set(train) and np.array_equal(some, folds.some_of(train, labels, groups, 0.2, 0, 1))
    assert set(some) == set(train[np.isin(groups[train], groups[some])])  # whole groups


def test_folds_keep_groups_together_and_a_lone_group_is_refused(labeled) -> None:
    labels, groups, _ = labeled
    tested = []
    for train, test in folds.grouped_folds(labels, groups, 0):
        assert not set(groups[train]) & set(groups[test])
        tested += list(test)
    assert sorted(tested) == list(range(60))
    with pytest.raises(InputError, match="rarest in 1 groups"):
        folds.grouped_folds(np.array(["a", "a", "b"]), np.array(["x", "y", "z"]), 0)
