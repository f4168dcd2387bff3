"""Scores over folds: weighted means, intervals over patients or groups, paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.metrics.fold_scores import score_differences, score_folds
from hmgdm_monai.metrics.number_scores import NumberOutcome, score_numbers


def folds(noise: float, sizes: tuple[int, ...] = (12, 20), seed: int = 0) -> list[NumberOutcome]:
    rng, errors = np.random.default_rng(seed), np.random.default_rng(1)
    values = [rng.normal(size=size) for size in sizes]
    return [NumberOutcome(value, value + noise * errors.normal(size=len(value))) for value in values]


def test_a_score_is_the_mean_over_folds_weighted_by_patients() -> None:
    given = folds(0.5)
    found = score_folds(given, score_numbers, num_bootstrap=0)["mae"]
    errors = [np.abs(fold.value - fold.prediction) for fold in given]
    assert found["value"] == pytest.approx(np.concatenate(errors).mean())
    assert found["folds"] == pytest.approx([one.mean() for one in errors])
    assert found["mean"] == pytest.approx(np.mean(found["folds"]))
    assert found["sd"] == pytest.approx(np.std(found["folds"], ddof=1))
    assert found["low"] is None and found["high"] is None


def test_models_of_different_scale_are_never_pooled() -> None:
    given = folds(0.5)
    shifted = [NumberOutcome(fold.value, fold.prediction + 100 * n) for n, fold in enumerate(given)]
    one, other = (score_folds(which, score_numbers, num_bootstrap=20)["spearman"] for which in (given, shifted))
    assert one == other


def test_an_undefined_score_has_no_weight() -> None:
    given = folds(0.5)
    flat = NumberOutcome(np.ones(4), np.arange(4.0))
    with_flat = score_folds([*given, flat], score_numbers, num_bootstrap=0)
    assert with_flat["r2"]["value"] == score_folds(given, score_numbers, num_bootstrap=0)["r2"]["value"]
    assert with_flat["r2"]["folds"][2] is None
    nothing = score_folds([flat], score_numbers, num_bootstrap=3)["r2"]
    assert nothing == {"value": None, "low": None, "high": None, "mean": None, "sd": None, "folds": [None]}


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    found = score_folds(folds(1.0, (200, 200)), score_numbers, num_bootstrap=400)["mae"]
    # The absolute value of a standard normal has the deviation sqrt(1 - 2 / pi).
    half = 1.96 * np.sqrt(1 - 2 / np.pi) / 20
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half, rel=0.15)


def test_tiles_of_one_patient_are_drawn_together() -> None:
    patients = folds(1.0, (30,))[0]
    repeated = patients.take(np.repeat(np.arange(30), 50))
    groups = [np.repeat(np.arange(30), 50)]
    wanted = score_folds([patients], score_numbers, num_bootstrap=50)["mae"]
    found = score_folds([repeated], score_numbers, num_bootstrap=50, groups=groups)["mae"]
    assert {key: found[key] for key in ("value", "low", "high")} == pytest.approx(
        {key: wanted[key] for key in ("value", "low", "high")}
    )


def test_paired_differences() -> None:
    good, bad = folds(0.2), folds(1.0)
    found = score_differences(good, bad, score_numbers, num_bootstrap=100)
    single = [score_folds(which, score_numbers, num_bootstrap=0)["mae"]["value"] for which in (good, bad)]
    assert found["mae"]["value"] == pytest.approx(single[0] - single[1])
    assert found["mae"]["high"] < 0 < found["spearman"]["low"]
    back = score_differences(bad, good, score_numbers, num_bootstrap=100)
    assert back["mae"]["low"] == pytest.approx(-found["mae"]["high"])
    same = score_differences(good, good, score_numbers, num_bootstrap=10)
    assert {same[name][key] for name in same for key in ("value", "low", "high")} == {0.0}


def test_differences_leave_out_a_fold_that_one_model_does_not_define() -> None:
    good, bad = folds(0.2), folds(1.0)
    constant = [good[0], NumberOutcome(good[1].value, np.zeros(len(good[1])))]
    found = score_differences(constant, bad, score_numbers, num_bootstrap=0)["spearman"]
    assert found["folds"][1] is None
    assert found["value"] == score_differences(good[:1], bad[:1], score_numbers, num_bootstrap=0)["spearman"]["value"]
