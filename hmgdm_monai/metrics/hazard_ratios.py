"""Hazard ratios of several columns at once: Cox's model with confidence intervals (lifelines)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class HazardRatios:
    """Hazard ratios of the F columns of one Cox model.

    Attributes:
        names: names of the columns.
        ratio: (F,) hazard ratio per unit of the column; above 1, larger values mean earlier death.
        low: (F,) lower end of the confidence interval.
        high: (F,) upper end.
        p: (F,) p-value of Wald's test against a ratio of 1.
        patients: number of patients.
        events: number of deaths.
        confidence: level of the intervals.
    """

    names: tuple[str, ...]
    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    patients: int
    events: int
    confidence: float

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return ``ratio``, ``low``, ``high`` and ``p`` by name of the column."""
        rows = zip(self.names, self.ratio, self.low, self.high, self.p, strict=True)
        return {
            name: {"ratio": float(ratio), "low": float(low), "high": float(high), "p": float(p)}
            for name, ratio, low, high, p in rows
        }


def hazard_ratios(
    time: np.ndarray,
    event: np.ndarray,
    columns: Mapping[str, np.ndarray],
    strata: np.ndarray | None = None,
    confidence: float = 0.95,
) -> HazardRatios:
    """Fit Cox's model to all columns together (Efron's ties, no penalty).

    With strata, each stratum has a baseline hazard of its own and patients are compared within their stratum only. The
    intervals are Wald's.

    Args:
        time: (N,) times.
        event: (N,) 1 = died.
        columns: (N,) values of each column by its name. The risks of the models of different folds have different
            scales: give :func:`standardize_within` of the folds, and the folds as strata.
        strata: (N,) stratum of each patient; None for one.
        confidence: level of the intervals.

    Raises:
        InputError: there is no column, a column does not vary, or the model has no finite solution.

    Example:
        >>> time, event = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1, 1, 1, 1, 0, 1])
        >>> found = hazard_ratios(time, event, {"risk": np.array([3.0, 1, 2, 2, 0, 1])})
        >>> bool(found.ratio[0] > 1)
        True
    """
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    if not columns:
        raise InputError("a Cox model needs one column or more; there is none")
    for name, values in columns.items():
        if not np.isfinite(values).all() or not np.ptp(values) > 0:
            raise InputError(f"{name} does not vary, or is not finite, so it has no hazard ratio; leave it out")
    strata = np.zeros(len(time), int) if strata is None else np.unique(strata, return_inverse=True)[1]
    x = np.stack([np.asarray(values, float) for values in columns.values()], 1)
    # Only differences within a stratum count; large ones between strata would spoil the convergence.
    for stratum in range(strata.max() + 1):
        x[strata == stratum] -= x[strata == stratum].mean(0)
    # Numbers in place of names, which could be those of the outcomes.
    table = pd.DataFrame(x, columns=[str(place) for place in range(len(columns))])
    table["time"], table["event"], table["stratum"] = np.asarray(time, float), np.asarray(event).astype(bool), strata
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numerical ones, of which the next line is the consequence
            warnings.simplefilter("error", ConvergenceWarning)
            model = CoxPHFitter(alpha=1 - confidence)
            model.fit(table, "time", "event", strata=["stratum"])
    except (ConvergenceError, ConvergenceWarning, np.linalg.LinAlgError) as error:
        raise InputError(
            f"the Cox model of {', '.join(columns)} has no finite solution for {len(table)} patients with "
            f"{int(table['event'].sum())} deaths; leave out a column that others determine, or a rare category"
        ) from error
    summary = model.summary.loc[[str(place) for place in range(len(columns))]]
    ends = np.exp(model.confidence_intervals_.loc[summary.index].to_numpy())
    return HazardRatios(
        names=tuple(columns),
        ratio=summary["exp(coef)"].to_numpy(),
        low=ends[:, 0],
        high=ends[:, 1],
        p=summary["p"].to_numpy(),
        patients=len(table),
        events=int(table["event"].sum()),
        confidence=confidence,
    )


def standardize_within(values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Subtract the mean of each stratum and divide by its standard deviation; 0 in a stratum without variation.

    Args:
        values: (N,) values, e.g. risks.
        strata: (N,) stratum of each value, e.g. the fold.
    """
    result = np.zeros(len(values))
    for stratum in np.unique(strata):
        side = strata == stratum
        deviation = values[side].std()
        if deviation > 0:
            result[side] = (values[side] - values[side].mean()) / deviation
    return result
