"""Hazard ratios: Efron's stratified likelihood in float64, strata, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.hazard_ratios import hazard_ratios, standardize_within


def drawn(number: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Ties in time, two columns, three strata of different baseline hazards; true log ratios 0.7 and -0.4."""
    rng = np.random.default_rng(seed)
    columns = {"risk": rng.normal(size=number), "time": rng.normal(size=number)}  # a name that is also an outcome's
    strata = np.arange(number) % 3
    hazard = np.exp(0.7 * columns["risk"] - 0.4 * columns["time"]) * (1 + strata)
    death, end = rng.exponential(10 / hazard), rng.exponential(12, number)
    return np.ceil(np.minimum(death, end)), (death <= end).astype(int), columns, strata


def efron(beta: np.ndarray, time: np.ndarray, event: np.ndarray, x: np.ndarray, strata: np.ndarray) -> float:
    total = 0.0
    for stratum in np.unique(strata):
        s = strata == stratum
        t, e, eta = time[s], event[s], x[s] @ beta
        for at in np.unique(t[e == 1]):
            dead, risk = (t == at) & (e == 1), np.exp(eta[t >= at]).sum()
            d = dead.sum()
            total += eta[dead].sum() - sum(np.log(risk - k / d * np.exp(eta[dead]).sum()) for k in range(d))
    return -total


def test_ratios_and_intervals_are_those_of_the_likelihood() -> None:
    time, event, columns, strata = drawn()
    x = np.stack(list(columns.values()), 1)
    best = minimize(efron, np.zeros(2), (time, event, x, strata), method="BFGS", options={"gtol": 1e-8}).x
    step = 1e-4
    shifts = step * np.eye(2)
    information = np.array(
        [
            [
                sum(i * j * efron(best + i * a + j * b, time, event, x, strata) for i in (-1, 1) for j in (-1, 1))
                for b in shifts
            ]
            for a in shifts
        ]
    ) / (4 * step**2)
    error = np.sqrt(np.diag(np.linalg.inv(information)))
    found = hazard_ratios(time, event, columns, strata, confidence=0.9)
    assert found.names == ("risk", "time") and (found.patients, found.events) == (90, event.sum())
    assert found.ratio == pytest.approx(np.exp(best), rel=1e-4)
    assert found.low == pytest.approx(np.exp(best - norm.ppf(0.95) * error), rel=1e-3)
    assert found.high == pytest.approx(np.exp(best + norm.ppf(0.95) * error), rel=1e-3)
    assert found.p == pytest.approx(2 * norm.sf(np.abs(best / error)), rel=1e-2)
    assert found.to_json()["risk"]["ratio"] == found.ratio[0]


def test_scale_and_shift_of_a_fold_do_not_matter() -> None:
    time, event, columns, strata = drawn()
    wanted = hazard_ratios(time, event, {"risk": standardize_within(columns["risk"], strata)}, strata)
    moved = columns["risk"] * (1 + strata) + 100 * strata
    found = hazard_ratios(time, event, {"risk": standardize_within(moved, strata)}, strata)
    assert found.ratio == pytest.approx(wanted.ratio)
    assert hazard_ratios(time, event, {"risk": moved}, strata).ratio != pytest.approx(wanted.ratio)


def test_standardize_within() -> None:
    found = standardize_within(np.array([1.0, 3.0, 5.0, 5.0]), np.array([0, 0, 1, 1]))
    assert found.tolist() == [-1, 1, 0, 0]


def test_what_has_no_ratio_is_refused_in_one_line() -> None:
    time, event, columns, _ = drawn(30)
    with pytest.raises(InputError, match="flat does not vary"):
        hazard_ratios(time, event, {"flat": np.ones(30)})
    with pytest.raises(InputError, match="one column or more"):
        hazard_ratios(time, event, {})
    for twin in (columns["risk"], event.astype(float)):  # collinear; complete separation
        with pytest.raises(InputError, match="Cox model of risk, twin has no finite solution for 30 patients"):
            hazard_ratios(time, event, {"risk": columns["risk"], "twin": twin})
