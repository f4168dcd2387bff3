"""Survival curves of Cox and discrete-time models."""

from __future__ import annotations

import numpy as np
import torch

from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL
from hmgdm_monai.tasks.patients.targets.survival_curves import breslow_baseline, survival_curves


def test_curves_of_a_cox_model_are_those_of_scikit_survival() -> None:
    from sksurv.linear_model.coxph import BreslowEstimator

    rng = np.random.default_rng(1)
    risk, time, event = rng.normal(size=40), np.ceil(rng.exponential(size=40) * 5), rng.integers(0, 2, 40)
    fitted = breslow_baseline(risk + 700, time, event)  # exp would overflow
    curves = BreslowEstimator().fit(risk, event.astype(bool), time).get_survival_function(risk[:3])
    times = np.array([1.0, 2.5, 4.0])
    found = survival_curves(CoxLoss(), torch.tensor(risk[:3] + 700)[:, None], fitted, times)
    np.testing.assert_allclose(found, [curve(times) for curve in curves], rtol=1e-6)


def test_curves_of_a_discrete_model_fall_at_the_ends_of_its_intervals() -> None:
    times = np.array([0.5, 1.0, 2.9, 3.0, 99.0])
    found = survival_curves(DiscreteTimeNLL([1.0, 3.0]), torch.zeros(1, 3), {}, times)
    np.testing.assert_allclose(found, [[1.0, 0.5, 0.5, 0.25, 0.25]])
