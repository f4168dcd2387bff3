"""Conformal sets and intervals: coverage on simulated data, abstention, small calibration sets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.conformal import (
    IntervalOutcome,
    SetOutcome,
    conformal_intervals,
    conformal_sets,
    score_intervals,
    score_sets,
)


def simulated(number: int, seed: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that are too confident by ``scale``; class 2 is rare and mistaken most often."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(number, 3)) + np.array([1.0, 1.0, -1.0])
    label = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return label, softmax(scale * logits, 1)


def enough(covered: int, count: int, rate: float) -> bool:
    """Whether a count of covered patients is not below what a binomial draw of the rate gives in 99.9 %."""
    return covered >= binom.ppf(0.001, count, rate)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("by_class", [False, True])
def test_sets_cover_at_least_the_wanted_rate(confidence: float, by_class: bool) -> None:
    covered, total = np.zeros(3, int), np.zeros(3, int)
    for seed in range(40):  # coverage is a promise over draws of the calibration patients, too
        label, probability = simulated(150, seed)
        sets = conformal_sets(label[:100], probability[:100], probability[100:], confidence, by_class)
        new = label[100:]
        covered += np.bincount(new, sets[np.arange(50), new], 3).astype(int)
        total += np.bincount(new, minlength=3)
    assert enough(covered.sum(), total.sum(), confidence)
    if by_class:
        assert all(enough(*counts, confidence) for counts in zip(covered, total, strict=True))
    else:  # not far above, else the sets would be useless
        assert covered.sum() / total.sum() < confidence + 0.03


def test_the_model_alone_does_not_cover() -> None:
    label, probability = simulated(4000, 0)
    alone = probability.max(1) >= 0.95
    assert (probability.argmax(1) == label)[alone].mean() < 0.9  # it is too confident; the sets correct this


def test_intervals_cover_the_wanted_rate() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        value = rng.normal(size=110)
        prediction = value + rng.standard_t(3, size=110)
        interval = conformal_intervals(value[:60], prediction[:60], prediction[60:], 0.9)
        covered += int(score_intervals(IntervalOutcome(value[60:], interval))["coverage"][0] * 50 + 0.5)
    assert enough(covered, 3000, 0.9) and covered / 3000 < 0.93


def test_too_few_calibration_patients_give_no_answer() -> None:
    label, probability = simulated(30, 0)
    assert conformal_sets(label[:9], probability[:9], probability, 0.9).all()
    assert not conformal_sets(label[:10], probability[:10], probability, 0.9).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(conformal_intervals(np.arange(8.0), np.zeros(8), np.zeros(3), 0.9)).all()
    with pytest.raises(InputError, match="calibration patients"):
        conformal_sets(label[:0], probability[:0], probability)
    with pytest.raises(InputError, match="between 0 and 1"):
        conformal_intervals(np.zeros(3), np.zeros(3), np.zeros(3), 90)


def test_scores_by_hand() -> None:
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], bool)
    found = score_sets(SetOutcome(np.array([0, 1, 2, 2]), sets))
    assert found == {
        "coverage": (0.5, 4.0),
        "set_size": (1.0, 4.0),
        "answered": (0.5, 4.0),
        "answered_accuracy": (0.5, 2.0),
    }
    ends = np.array([[0.0, 2.0], [0.0, 1.0], [-np.inf, np.inf]])
    assert score_intervals(IntervalOutcome(np.array([1.0, 3.0, 9.0]), ends)) == {
        "coverage": (pytest.approx(2 / 3), 3.0),
        "width": (1.5, 2.0),
    }
