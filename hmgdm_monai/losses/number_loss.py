"""Squared and Huber loss of standardized numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.patient_loss import PatientLoss

LOSSES = ("mse", "huber")


class NumberLoss(PatientLoss):
    """Loss of one number per patient in standardized units, averaged over patients.

    With z = (value - mean) / sd and the output o: (o - z)^2 for "mse"; for "huber" (o - z)^2 / 2 up to a distance of
    delta, and delta (|o - z| - delta / 2) beyond. So loss and learning rate do not depend on the unit of the numbers.

    Args:
        name: "mse" or "huber".
        mean: mean of the training patients.
        sd: standard deviation of the training patients, > 0.
        delta: huber: distance in standard deviations from which the loss is linear, > 0.

    Raises:
        ValueError: the name is unknown, or a number is out of range.
    """

    def __init__(self, name: str = "mse", mean: float = 0.0, sd: float = 1.0, delta: float = 1.0) -> None:
        super().__init__()
        if name not in LOSSES:
            raise ValueError(f"name must be 'mse' or 'huber', not {name!r}")
        if not (sd > 0 and delta > 0):
            raise ValueError(f"sd and delta must be above 0, not {sd} and {delta}")
        self.name, self.mean, self.sd, self.delta = name, float(mean), float(sd), float(delta)

    @property
    def num_outputs(self) -> int:
        """One: the standardized number."""
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as stored in a model file."""
        return {"name": self.name, "mean": self.mean, "sd": self.sd, "delta": self.delta}

    def forward(self, output: Tensor, value: Tensor) -> Tensor:
        """Compute the loss of B patients.

        Args:
            output: (B, 1) standardized predictions.
            value: (B,) numbers in their own unit.
        """
        wanted = ((value.double() - self.mean) / self.sd).to(output.dtype)
        if self.name == "mse":
            return F.mse_loss(output[:, 0], wanted)
        return F.huber_loss(output[:, 0], wanted, delta=self.delta)

    def predict(self, output: Tensor) -> Tensor:
        """Number (B, 1) in its own unit."""
        return output * self.sd + self.mean


def number_loss(name: str = "mse", delta: float = 1.0, value: np.ndarray | None = None) -> NumberLoss:
    """Build a loss of numbers, standardized by the training patients.

    Args:
        name: "mse" or "huber".
        delta: see :class:`NumberLoss`.
        value: (P,) numbers of the training patients.

    Raises:
        InputError: the loss does not exist, delta is not above 0, or the numbers are missing or all equal.
    """
    if name not in LOSSES:
        raise InputError(f"no loss of numbers is called {name!r}; there are {', '.join(LOSSES)}")
    if not delta > 0:
        raise InputError(f"loss {name}: delta must be above 0, not {delta}")
    if value is None or len(value) == 0 or not np.ptp(value) > 0:
        raise InputError(
            f"loss {name}: the numbers of the training patients are missing or all equal; check the column"
        )
    return NumberLoss(name, float(np.mean(value)), float(np.std(value)), delta)
