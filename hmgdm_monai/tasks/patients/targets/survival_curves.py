"""Survival curves of a Cox or discrete-time model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL


def survival_curves(
    loss: CoxLoss | DiscreteTimeNLL, output: Tensor, fitted: Mapping[str, Any], times: np.ndarray
) -> np.ndarray:
    """Return the probability (B, T) to live longer than each of ``times``, from outputs (B, K).

    The curve is a step function. For a Cox model it comes from Breslow's baseline. For a discrete-time model it falls
    at the end of each interval, and it is constant within the last interval, which has no end.

    Args:
        loss: loss of the model.
        output: (B, K) outputs of the network.
        fitted: Cox: the result of :func:`breslow_baseline`, by name.
        times: (T,) times in the unit of the training data.
    """
    if isinstance(loss, DiscreteTimeNLL):
        steps, curve = loss.cuts.cpu().numpy(), loss.survival(output.detach().double()).cpu().numpy()
        curve = np.concatenate((np.ones((len(curve), 1)), curve[:, : len(steps)]), 1)
        return curve[:, np.searchsorted(steps, times, side="right")]
    log_hazard = np.concatenate(([-np.inf], np.array(fitted["baseline_log_hazard"], float)))
    place = np.searchsorted(np.array(fitted["baseline_times"], float), times, side="right")
    risk = loss.risk(output.detach()).double().cpu().numpy()
    return np.exp(-np.exp(np.minimum(risk[:, None] + log_hazard[place][None], 700)))


def breslow_baseline(risk: np.ndarray, time: np.ndarray, event: np.ndarray) -> dict[str, list[float]]:
    """Return times and log cumulative hazard of the baseline, by scikit-survival's Breslow estimator.

    Args:
        risk: (P,) log hazard ratios.
        time: (P,) times.
        event: (P,) 1 = died, 0 = censored.

    Returns:
        ``baseline_times`` and ``baseline_log_hazard``, T numbers each.
    """
    from sksurv.linear_model.coxph import BreslowEstimator

    shift = float(np.max(risk))  # exp must not overflow
    found = BreslowEstimator().fit(risk - shift, np.asarray(event).astype(bool), np.asarray(time, float))
    with np.errstate(divide="ignore"):  # the hazard is zero before the first death
        log_hazard = np.log(found.cum_baseline_hazard_.y) - shift
    return {"baseline_times": found.cum_baseline_hazard_.x.tolist(), "baseline_log_hazard": log_hazard.tolist()}
