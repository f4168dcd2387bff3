"""The linear probe: no leak between groups, one for perfect features, chance for none."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.linear_probe import ProbePredictions, auc_against, balanced_accuracy, probe_predictions

GROUPS = np.repeat([f"p{i}" for i in range(12)], 8)
LABELS = np.repeat(["c", "a", "b"] * 4, 8)


def test_perfect_features_give_one() -> None:
    features = (LABELS[:, None] == ["a", "b", "c"]).astype(float)
    found = probe_predictions(features, LABELS, GROUPS)
    assert list(found.classes) == ["a", "b", "c"] and found.probabilities.shape == (96, 3)
    np.testing.assert_allclose(found.probabilities.sum(1), 1.0)
    assert balanced_accuracy(LABELS, found) == 1.0 and auc_against(LABELS, found, "b") == 1.0


def test_noise_gives_chance() -> None:
    scores = [
        balanced_accuracy(LABELS, probe_predictions(rng.normal(size=(96, 3)), LABELS, GROUPS, strengths=(1e-2,)))
        for rng in map(np.random.default_rng, range(10))
    ]
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.06)


def test_what_only_names_the_patient_is_of_no_use() -> None:
    """Features that give away the patient would give away the label, too, if his tiles were on both sides."""
    features = (GROUPS[:, None] == np.unique(GROUPS)).astype(float)
    for seed in range(3):
        found = probe_predictions(features, LABELS, GROUPS, seed=seed, strengths=(1.0,))
        assert balanced_accuracy(LABELS, found) < 0.5
    leaking = probe_predictions(features, LABELS, np.arange(96), strengths=(1.0,))
    assert balanced_accuracy(LABELS, leaking) == 1.0


def test_strength_is_chosen_without_the_held_out_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fit, inner or outer, sees a group that it is asked about."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features = np.c_[np.arange(96), rng.normal(size=(96, 2))]  # standardized, the first still tells the rows apart
    fitted: list[int] = []
    fit = LogisticRegression.fit

    def spy(self, x, y, *rest):
        fitted.append(len(y))
        return fit(self, x, y, *rest)

    monkeypatch.setattr(LogisticRegression, "fit", spy)
    probe_predictions(features, LABELS, GROUPS, folds=4, strengths=(1e-2, 1.0))
    assert max(fitted) <= 72 and len(fitted) == 4 * (2 * 3 + 1)


def test_same_seed_same_folds() -> None:
    features = np.random.default_rng(1).normal(size=(96, 3))
    first, second = (probe_predictions(features, LABELS, GROUPS, seed=3).probabilities for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_balanced_accuracy_weighs_classes_alike() -> None:
    labels = np.array(["a"] * 9 + ["b"])
    always_a = ProbePredictions(np.array(["a", "b"]), np.tile([0.9, 0.1], (10, 1)))
    assert balanced_accuracy(labels, always_a) == 0.5


@pytest.mark.parametrize(("labels", "groups"), [(["a"] * 4, list("pqrs")), (list("aabb"), list("ppqr")), ([], [])])
def test_too_little_to_probe(labels: list, groups: list) -> None:
    with pytest.raises(InputError, match="two classes or more, each in two groups or more"):
        probe_predictions(np.zeros((len(labels), 2)), labels, groups)


def test_unknown_negative() -> None:
    with pytest.raises(InputError, match="'d' is not a class"):
        auc_against(LABELS, ProbePredictions(np.unique(LABELS), np.full((96, 3), 1 / 3)), "d")


def test_class_left_with_one_group_has_no_inner_folds() -> None:
    """Two groups a class leave one on each training side: no inner choice can be made, and none is needed."""
    labels, groups = np.repeat(["a", "b", "c"], 6), np.repeat(np.arange(6), 3)
    embeddings = np.eye(3)[np.repeat([0, 1, 2], 6)] * 10.0
    assert balanced_accuracy(labels, probe_predictions(embeddings, labels, groups)) == 1.0
