"""Calibration of survival at a horizon: simulated data with known truth."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival_calibration import calibrate_at, integrated_calibration_index, survival_at

HORIZON = 2.0


def simulated(number: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponential survival, censored, and the true probability to survive the horizon."""
    rng = np.random.default_rng(0)
    rate = 0.3 * np.exp(0.8 * rng.normal(size=number))
    death, end = rng.exponential(1 / rate), rng.exponential(5, number)
    return np.minimum(death, end), (death <= end).astype(int), np.exp(-rate * HORIZON)


def test_the_truth_is_calibrated() -> None:
    time, event, survival = simulated()
    found = calibrate_at(time, event, survival, HORIZON)
    assert found.count.sum() == 4000 and len(found.count) == 5
    assert found.predicted == pytest.approx(found.observed, abs=0.04)
    assert ((found.low <= found.predicted) & (found.predicted <= found.high)).sum() >= 4
    assert found.index < 0.02


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_the_index_is_the_mean_distance_to_the_truth(power: float) -> None:
    time, event, survival = simulated()
    wrong = survival**power  # hazards that are half or twice the true ones
    found = calibrate_at(time, event, wrong, HORIZON)
    assert found.index == pytest.approx(np.abs(wrong - survival).mean(), abs=0.02)
    assert (np.sign(found.predicted - found.observed) == np.sign(power - 1)).all()


def test_a_model_that_ranks_rightly_but_spreads_too_far_is_found_out() -> None:
    time, event, survival = simulated()
    logit = np.log(survival / (1 - survival))
    spread = 1 / (1 + np.exp(-3 * logit))
    found = integrated_calibration_index(time, event, spread, HORIZON)
    assert found == pytest.approx(np.abs(spread - survival).mean(), abs=0.02)


def test_undefined_and_refused() -> None:
    time, event, survival = simulated(40)
    assert np.isnan(integrated_calibration_index(time, event, np.full(40, 0.5), HORIZON))
    assert np.isnan(integrated_calibration_index(time, np.arange(40) < 9, survival, HORIZON))
    assert len(calibrate_at(time, event, np.full(40, 0.5), HORIZON).count) == 1
    with pytest.raises(InputError, match="no patient was followed up to the horizon"):
        calibrate_at(time, event, survival, time.max() + 1)


def test_a_group_without_deaths_has_observed_none() -> None:
    found = calibrate_at(np.arange(1.0, 9.0), np.repeat([0, 1], 4), np.repeat([0.9, 0.1], 4), 7.5, num_groups=2)
    assert found.observed.tolist() == [0.0, 0.75] and np.isnan(found.high[0])


def test_curves_are_steps() -> None:
    curves, times = np.array([[0.9, 0.5], [0.8, 0.2]]), np.array([1.0, 3.0])
    assert survival_at(curves, times, 0.5).tolist() == [1, 1]
    assert survival_at(curves, times, 1.0).tolist() == survival_at(curves, times, 2.9).tolist() == [0.9, 0.8]
    assert survival_at(curves, times, 3.0).tolist() == [0.5, 0.2]
    with pytest.raises(InputError, match="curves end at 3, before the horizon 4"):
        survival_at(curves, times, 4.0)
