"""Losses of classes, grades and numbers against loops in float64, and what their outputs mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.build import build_patient_loss
from hmgdm_monai.losses.class_loss import ClassLoss, class_loss
from hmgdm_monai.losses.number_loss import NumberLoss, number_loss
from hmgdm_monai.losses.ordinal import OrdinalLoss
from hmgdm_monai.losses.survival_loss import survival_loss

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 4, 30)
VALUE = RNG.normal(50, 9, 30)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_weighted_cross_entropy_is_that_of_a_loop() -> None:
    output, weights = RNG.normal(size=(30, 4)) * 3, [0.5, 1.0, 2.0, 4.0]
    total = norm = 0.0
    for row, label in zip(output, LABEL, strict=True):
        probability = math.exp(row[label]) / sum(math.exp(x) for x in row)
        total -= weights[label] * math.log(probability)
        norm += weights[label]
    loss = ClassLoss(weights)
    assert float(loss(torch.tensor(output), torch.tensor(LABEL.astype(float)))) == pytest.approx(total / norm)
    assert loss.num_outputs == 4


def test_the_ordinal_loss_is_the_likelihood_of_a_loop_over_grades() -> None:
    output, loss = RNG.normal(size=(30, 3)) * 2, OrdinalLoss(4)
    total, expected = 0.0, np.zeros((30, 4))
    for i, row in enumerate(output):
        above = [1.0]
        for logit in row:
            above.append(above[-1] * sigmoid(logit))
        above.append(0.0)
        expected[i] = [above[k] - above[k + 1] for k in range(4)]
        total -= math.log(expected[i, LABEL[i]])
    found = loss.predict(torch.tensor(output))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert torch.allclose(found.sum(1), torch.ones(30, dtype=torch.float64))
    assert float(loss(torch.tensor(output), torch.tensor(LABEL))) == pytest.approx(total / 30)


def test_the_ordinal_loss_finds_the_shares_of_grades() -> None:
    """Without inputs, the best outputs give each grade its share among the patients."""
    loss, output = OrdinalLoss(4), torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([output], max_iter=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(output.expand(30, 3), torch.tensor(LABEL))
        value.backward()
        return value

    optimizer.step(closure)
    np.testing.assert_allclose(loss.predict(output.detach())[0], np.bincount(LABEL, minlength=4) / 30, atol=1e-5)


@pytest.mark.parametrize("name", ["mse", "huber"])
def test_losses_of_numbers_are_those_of_a_loop_and_know_no_unit(name: str) -> None:
    loss = number_loss(name, 0.7, VALUE)
    output = RNG.normal(size=(30, 1))
    total = 0.0
    for o, value in zip(output[:, 0], VALUE, strict=True):
        distance = abs(o - (value - VALUE.mean()) / VALUE.std())
        square = distance**2 if name == "mse" else distance**2 / 2
        total += square if name == "mse" or distance <= 0.7 else 0.7 * (distance - 0.35)
    assert float(loss(torch.tensor(output), torch.tensor(VALUE))) == pytest.approx(total / 30)
    in_other_unit = number_loss(name, 0.7, 3 + 1000 * VALUE)
    assert float(in_other_unit(torch.tensor(output), torch.tensor(3 + 1000 * VALUE))) == pytest.approx(total / 30)
    standardized = torch.tensor((VALUE - VALUE.mean()) / VALUE.std())[:, None]
    np.testing.assert_allclose(loss.predict(standardized)[:, 0], VALUE)


@pytest.mark.parametrize(
    "loss",
    [
        ClassLoss([1.0, 2.0]),
        OrdinalLoss(3),
        NumberLoss("huber", 3.0, 2.0, 0.5),
        survival_loss("cox", "breslow"),
        survival_loss("discrete", num_intervals=3, time=np.arange(1.0, 9), event=np.ones(8)),
    ],
)
def test_losses_are_rebuilt_from_their_settings(loss: torch.nn.Module) -> None:
    again, output = build_patient_loss(loss.settings), torch.randn(4, loss.num_outputs)
    assert again.settings == loss.settings and type(again) is type(loss)
    torch.testing.assert_close(again.predict(output), loss.predict(output))


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(InputError, match="no loss of classes is called 'mse'"):
        class_loss("mse")
    with pytest.raises(InputError, match="no label of class 1"):
        class_loss("cross_entropy", 2, label=np.zeros(4))
    with pytest.raises(InputError, match="missing or all equal"):
        number_loss("mse", value=np.ones(4))
    with pytest.raises(InputError, match="delta must be above 0"):
        number_loss("huber", 0.0, VALUE)
    with pytest.raises(InputError, match="no loss of numbers is called 'l1'"):
        number_loss("l1", value=VALUE)
    with pytest.raises(InputError, match="no loss is called 'l1'"):
        build_patient_loss({"name": "l1"})
