"""Scores of predicted numbers: scikit-learn's and SciPy's values, undefined ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score

from hmgdm_monai.metrics.number_scores import NUMBER_SCORES, NumberOutcome, score_numbers


def drawn(number: int = 30) -> NumberOutcome:
    rng = np.random.default_rng(0)
    value = rng.normal(size=number)
    return NumberOutcome(value, value + rng.normal(size=number))


def test_agrees_with_scikit_learn_and_scipy() -> None:
    fold = drawn()
    found = score_numbers(fold)
    assert tuple(found) == NUMBER_SCORES and {weight for _, weight in found.values()} == {30.0}
    assert found["r2"][0] == pytest.approx(r2_score(fold.value, fold.prediction))
    assert found["spearman"][0] == pytest.approx(spearmanr(fold.value, fold.prediction).statistic)
    assert found["mae"][0] == pytest.approx(mean_absolute_error(fold.value, fold.prediction))


def test_the_mean_has_no_r2_and_no_rank() -> None:
    fold = drawn()
    mean = score_numbers(NumberOutcome(fold.value, np.full(len(fold), fold.value.mean())))
    assert mean["r2"][0] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(mean["spearman"][0]) and mean["spearman"][1] == 0


def test_equal_values_define_the_error_alone() -> None:
    found = score_numbers(NumberOutcome(np.ones(3), np.array([1.0, 2.0, 3.0])))
    assert found["r2"][1] == found["spearman"][1] == 0 and found["mae"] == (1.0, 3.0)
    assert score_numbers(NumberOutcome(np.ones(1), np.zeros(1)))["mae"] == (1.0, 1.0)
