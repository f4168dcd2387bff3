"""Cox loss and gradient against a float64 loop, and its optimum against scikit-survival's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.losses.cox import CoxLoss


def loop(risk: np.ndarray, time: np.ndarray, event: np.ndarray, ties: str) -> tuple[float, np.ndarray]:
    """Loss and gradient by the textbook's sums."""
    loss, gradient, hazard = 0.0, np.zeros_like(risk), np.exp(risk)
    for t in np.unique(time[event == 1]):
        at_risk, dying = time >= t, (time == t) & (event == 1)
        d = dying.sum()
        loss -= risk[dying].sum()
        gradient[dying] -= 1
        for k in range(d):
            weight = hazard * at_risk - (k / d if ties == "efron" else 0) * hazard * dying
            loss += np.log(weight.sum())
            gradient += weight / weight.sum()
    return loss / event.sum(), gradient / event.sum()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 25),
    times=st.integers(1, 12),
    ties=st.sampled_from(["efron", "breslow"]),
)
def test_loss_and_gradient_equal_the_loop_with_ties(seed: int, count: int, times: int, ties: str) -> None:
    rng = np.random.default_rng(seed)
    risk, time = rng.normal(size=count) * 3, rng.integers(1, times + 1, count).astype(float)
    event = rng.integers(0, 2, count)
    event[0] = 1
    tensor = torch.tensor(risk, requires_grad=True)
    loss = CoxLoss(ties)(tensor[:, None], torch.tensor(time), torch.tensor(event))
    loss.backward()
    expected, gradient = loop(risk, time, event, ties)
    assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_optimum_is_that_of_scikit_survival(ties: str) -> None:
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 3))
    time = np.ceil(rng.exponential(np.exp(-x @ [1.0, -0.5, 0.0])) * 4)  # many ties
    event = rng.random(80) < 0.7
    theirs = CoxPHSurvivalAnalysis(ties=ties, tol=1e-12, n_iter=200).fit(x, Surv.from_arrays(event, time)).coef_
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = CoxLoss(ties)(torch.tensor(x) @ weight, torch.tensor(time), torch.tensor(event))
        loss.backward()
        return loss

    optimizer.step(step)
    np.testing.assert_allclose(weight.detach().numpy(), theirs, atol=1e-6)


def test_order_of_patients_and_a_shift_of_all_risks_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    risk, time = torch.randn(20, generator=generator).double(), torch.randint(1, 6, (20,), generator=generator).double()
    event = torch.randint(0, 2, (20,), generator=generator)
    order = torch.randperm(20, generator=generator)
    loss = CoxLoss()(risk, time, event)
    torch.testing.assert_close(CoxLoss()(risk[order], time[order], event[order]), loss)
    torch.testing.assert_close(CoxLoss()(risk + 1000, time, event), loss)


def test_higher_risk_of_who_dies_earlier_lowers_the_loss() -> None:
    time, event = torch.tensor([1.0, 2.0, 3.0]), torch.ones(3)
    right, wrong = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 2.0])
    assert CoxLoss()(right, time, event) < CoxLoss()(wrong, time, event)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_extreme_risks_keep_a_finite_loss_and_gradient(ties: str) -> None:
    risk = torch.tensor([800.0, -800.0, 800.0, 0.0], requires_grad=True)  # exp overflows
    loss = CoxLoss(ties)(risk, torch.tensor([2.0, 2.0, 1.0, 2.0]), torch.ones(4))
    loss.backward()
    assert loss.isfinite() and risk.grad.isfinite().all() and risk.grad.abs().sum() > 0
    assert loss.dtype == torch.float32


def test_no_events_give_no_loss_and_no_gradient() -> None:
    risk = torch.randn(4, requires_grad=True)
    loss = CoxLoss()(risk, torch.ones(4), torch.zeros(4))
    loss.backward()
    assert loss.item() == 0 and not risk.grad.any()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="ties"):
        CoxLoss("exact")
    with pytest.raises(ValueError, match="3 risks for 2 times"):
        CoxLoss()(torch.zeros(3), torch.ones(2), torch.ones(2))
