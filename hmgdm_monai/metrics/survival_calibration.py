"""Whether predicted survival is right as a probability: predicted against observed at one time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError

_CLIP = 1e-6  # probabilities of 0 and 1 have no complementary log-log


@dataclass(frozen=True)
class HorizonCalibration:
    """Predicted and observed probability to die until a horizon, in groups of patients by predicted probability.

    Attributes:
        horizon: the time, in the unit of the times.
        count: (G,) int64, number of patients of each group.
        predicted: (G,) mean predicted probability to die until the horizon.
        observed: (G,) observed one: 1 - Kaplan-Meier.
        low: (G,) lower end of its 95 % interval (log-log).
        high: (G,) upper end.
        index: integrated calibration index, see :func:`integrated_calibration_index`; nan if it is not defined.
    """

    horizon: float
    count: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    index: float


def survival_at(survival: np.ndarray, times: np.ndarray, horizon: float) -> np.ndarray:
    """Return the probability to survive the horizon, (P,), from step curves.

    Args:
        survival: (P, T) probability to survive each of ``times``.
        times: (T,) ascending.
        horizon: time of interest.

    Raises:
        InputError: the curves end before the horizon.
    """
    if horizon > times[-1]:
        raise InputError(
            f"predicted survival curves end at {times[-1]:g}, before the horizon {horizon:g}; give an earlier horizon"
        )
    place = int(np.searchsorted(times, horizon, side="right")) - 1
    return np.asarray(survival[:, place], float) if place >= 0 else np.ones(len(survival))


def calibrate_at(
    time: np.ndarray, event: np.ndarray, survival: np.ndarray, horizon: float, num_groups: int = 5
) -> HorizonCalibration:
    """Compare predicted with observed survival at a horizon, by quantiles of the prediction.

    Probabilities of several models have one scale, so test patients of all folds may be given together, each with the
    prediction of its fold's model.

    Args:
        time: (N,) times.
        event: (N,) 1 = died.
        survival: (N,) predicted probability to survive the horizon (:func:`survival_at`).
        horizon: time of interest.
        num_groups: number of groups of equal size; fewer if predictions coincide.

    Raises:
        InputError: nobody is followed up to the horizon.
    """
    time, event, risk = np.asarray(time, float), np.asarray(event).astype(bool), 1 - np.asarray(survival, float)
    if not (time >= horizon).any():
        raise InputError(f"no patient was followed up to the horizon {horizon:g}; give one below {time.max():g}")
    edges = np.unique(np.quantile(risk, np.arange(1, num_groups) / num_groups))
    group = np.searchsorted(edges, risk, side="left")
    sides = [group == one for one in np.unique(group)]
    observed = np.array([_dead_until(time[side], event[side], horizon) for side in sides])
    return HorizonCalibration(
        horizon=float(horizon),
        count=np.array([side.sum() for side in sides]),
        predicted=np.array([risk[side].mean() for side in sides]),
        observed=observed[:, 0],
        low=observed[:, 1],
        high=observed[:, 2],
        index=integrated_calibration_index(time, event, survival, horizon),
    )


def integrated_calibration_index(time: np.ndarray, event: np.ndarray, survival: np.ndarray, horizon: float) -> float:
    """Mean distance between predicted and observed probability to die until a horizon (ICI).

    The observed probability is a smooth function of the predicted one: Cox's model of a restricted cubic spline (three
    knots) of log(-log(predicted survival)), as in Austin, Harrell and van Klaveren, Graphical calibration curves and
    the integrated calibration index (ICI) for survival models, Statistics in Medicine 2020. 0 is best. With few deaths
    it is above 0 even for a calibrated model.

    Args:
        time: (N,) times.
        event: (N,) 1 = died.
        survival: (N,) predicted probability to survive the horizon.
        horizon: time of interest.

    Returns:
        The index; nan if fewer than 10 patients died or the predictions have fewer than 3 different quantiles.
    """
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    event = np.asarray(event).astype(bool)
    predicted = 1 - np.asarray(survival, float)
    x = np.log(-np.log(np.clip(1 - predicted, _CLIP, 1 - _CLIP)))
    knots = np.quantile(x, [0.1, 0.5, 0.9])
    if event.sum() < 10 or len(np.unique(knots)) < 3:
        return float("nan")
    design = _spline(x, knots)
    design = (design - design.mean(0)) / design.std(0)
    try:
        model = CoxPHSurvivalAnalysis(alpha=1e-6, ties="efron").fit(design, Surv.from_arrays(event, np.asarray(time)))
    except (np.linalg.LinAlgError, ValueError):
        return float("nan")
    observed = 1 - model.baseline_survival_(horizon) ** np.exp(model.predict(design))
    return float(np.abs(observed - predicted).mean())


def _spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the columns (N, 2) of a restricted cubic spline with three knots (Harrell): linear beyond the knots."""
    first, middle, last = (np.clip(x - knot, 0, None) ** 3 for knot in knots)
    a, b, c = knots
    curved = (first - middle * (c - a) / (c - b) + last * (b - a) / (c - b)) / (c - a) ** 2
    return np.stack((x, curved), 1)


def _dead_until(time: np.ndarray, event: np.ndarray, horizon: float) -> tuple[float, float, float]:
    """Return 1 - Kaplan-Meier at the horizon and its interval."""
    from sksurv.nonparametric import kaplan_meier_estimator

    if not (event & (time <= horizon)).any():
        return 0.0, 0.0, float("nan")
    times, alive, (low, high) = kaplan_meier_estimator(event, time, conf_type="log-log")
    place = int(np.searchsorted(times, horizon, side="right")) - 1
    return 1 - float(alive[place]), 1 - float(high[place]), 1 - float(low[place])
