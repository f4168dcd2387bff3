"""Competing risks: closed forms, gaps in the codes."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.competing_risks import cause_specific, cumulative_incidence


def simulated(number: int = 1000, rates: tuple[float, float] = (0.3, 0.5)) -> tuple[np.ndarray, np.ndarray]:
    """Constant hazards of two causes, and censoring."""
    rng = np.random.default_rng(0)
    times = np.stack([rng.exponential(1 / rate, number) for rate in (*rates, 0.2)])
    return times.min(0), np.array([1, 2, 0])[times.argmin(0)]


def test_constant_hazards_have_the_closed_form() -> None:
    time, event = simulated()
    for cause, rate in ((1, 0.3), (2, 0.5)):
        found = cumulative_incidence(time, event, cause)
        at = found.times < 3
        wanted = rate / 0.8 * (1 - np.exp(-0.8 * found.times[at]))
        assert np.abs(found.incidence[at] - wanted).max() < 0.05
        inside = (found.low[at] <= wanted) & (wanted <= found.high[at])
        assert inside[100:].mean() > 0.8  # neighboring times are correlated


def test_causes_add_up_to_one_minus_survival() -> None:
    from sksurv.nonparametric import kaplan_meier_estimator

    time, event = simulated(300)
    total = sum(cumulative_incidence(time, event, cause).incidence for cause in (1, 2))
    assert total == pytest.approx(1 - kaplan_meier_estimator(event > 0, time)[1])


def test_a_code_without_events_is_no_obstacle() -> None:
    time, event = simulated(200)
    wanted, found = cumulative_incidence(time, event, 2), cumulative_incidence(time, np.where(event == 2, 5, event), 5)
    assert (found.incidence == wanted.incidence).all() and np.allclose(found.low, wanted.low, equal_nan=True)
    nobody = cumulative_incidence(time, event, 3)
    assert (nobody.incidence == 0).all() and np.isnan(nobody.low).all()


def test_a_single_cause_is_one_minus_kaplan_meier() -> None:
    from sksurv.nonparametric import kaplan_meier_estimator

    time, event = simulated(50)
    alone = event == 2
    found = cumulative_incidence(time, np.where(alone, 2, 0), 2)
    assert found.incidence == pytest.approx(1 - kaplan_meier_estimator(alone, time)[1])
    inside = found.incidence > 0
    assert (found.low <= found.incidence)[inside].all() and (found.incidence <= found.high)[inside].all()


def test_events_of_a_cause() -> None:
    assert cause_specific(np.array([0, 1, 2, 2]), 2).tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="no event has the cause 3; the events are 0, 1, 2"):
        cause_specific(np.array([0, 1, 2, 2]), 3)
