"""Base class of the losses of patients: a loss, and what the outputs of a network mean under it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class PatientLoss(nn.Module, ABC):
    """A loss of outputs (B, K) and outcomes of B patients.

    An outcome has one number or more, for example time and event, or the index of a class. The loss takes each of them
    as an argument of its own: ``loss(output, time, event)``, ``loss(output, label)``.
    """

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Number of outputs K that a network needs."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Name and arguments, as stored in a model file."""

    @abstractmethod
    def predict(self, output: Tensor) -> Tensor:
        """Convert outputs (B, K) to predictions (B, C): a risk, the probability of each class, or a number."""
