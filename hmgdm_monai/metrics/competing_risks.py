"""Outcomes with several causes: cumulative incidence (scikit-survival)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class CumulativeIncidence:
    """Share of patients who have had an event of one cause, over time.

    Attributes:
        times: (T,) ascending.
        incidence: (T,) cumulative incidence of the cause.
        low: (T,) lower end of the 95 % interval (log-log); nan where it is not defined.
        high: (T,) upper end.
    """

    times: np.ndarray
    incidence: np.ndarray
    low: np.ndarray
    high: np.ndarray


def cumulative_incidence(time: np.ndarray, event: np.ndarray, cause: int = 1) -> CumulativeIncidence:
    """Estimate the cumulative incidence of a cause by Aalen and Johansen.

    One minus Kaplan-Meier, with other causes censored, would be too high: who dies of another cause can no longer die
    of this one.

    Args:
        time: (N,) times, N > 0.
        event: (N,) cause of each event as an integer from 1; 0 = censored.
        cause: the cause.

    Example:
        >>> found = cumulative_incidence(np.array([1.0, 2, 3, 4]), np.array([1, 2, 1, 0]))
        >>> found.incidence.tolist()
        [0.25, 0.25, 0.5, 0.5]
    """
    from sksurv.nonparametric import cumulative_incidence_competing_risks, kaplan_meier_estimator

    event = np.asarray(event).astype(np.int64)
    there = np.unique(event[event > 0])
    if cause not in there:
        times = np.unique(time)
        nothing = np.full(len(times), np.nan)
        return CumulativeIncidence(times, np.zeros(len(times)), nothing, nothing)
    if len(there) == 1:  # scikit-survival fails; without competing events the incidence is 1 - Kaplan-Meier
        times, alive, (low, high) = kaplan_meier_estimator(event > 0, np.asarray(time, float), conf_type="log-log")
        return CumulativeIncidence(times, 1 - alive, 1 - high, 1 - low)
    # scikit-survival wants the causes to be 1, 2, ... without gaps.
    codes = np.where(event > 0, np.searchsorted(there, event) + 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # the interval is not defined before the first event
        times, incidence, ends = cumulative_incidence_competing_risks(
            codes, np.asarray(time, float), conf_type="log-log"
        )
    place = int(np.searchsorted(there, cause)) + 1
    return CumulativeIncidence(times, incidence[place], ends[place][0], ends[place][1])


def cause_specific(event: np.ndarray, cause: int = 1) -> np.ndarray:
    """Events of one cause, (N,) int64: 1 = this cause, 0 = censored or another cause.

    A Cox model of these events estimates the cause-specific hazard (Prentice et al., Biometrics 1978).

    Args:
        event: (N,) cause of each event as an integer from 1; 0 = censored.
        cause: the cause of interest.

    Raises:
        InputError: nobody has an event of this cause.
    """
    found = (np.asarray(event) == cause).astype(np.int64)
    if not found.any():
        there = ", ".join(str(code) for code in np.unique(np.asarray(event).astype(np.int64)))
        raise InputError(f"no event has the cause {cause}; the events are {there}")
    return found
