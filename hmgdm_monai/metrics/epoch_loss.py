"""A loss of patients over a whole epoch, as an Ignite metric."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite.metrics import Metric
from torch import Tensor


class EpochOutputs(Metric):
    """Base class of metrics over all patients of an epoch, from outputs {pred (B, K), label (B, V) of outcomes}."""

    required_output_keys = ("pred", "label")

    def reset(self) -> None:
        """Reset to no patients."""
        self._output: list[Tensor] = []
        self._label: list[Tensor] = []

    def update(self, output: tuple[Tensor, Tensor]) -> None:
        """Add a batch."""
        self._output.append(output[0].detach())
        self._label.append(output[1].detach())

    def gather(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs (P, K), and each number of the outcomes (P,): time and event, a class, or a value."""
        return torch.cat(self._output), torch.cat(self._label).unbind(1)


class EpochLoss(EpochOutputs):
    """A loss over all patients at once; with batches, Cox's risk sets would be those of the batches.

    Args:
        loss: loss of outputs (P, K) and of each number of the outcomes (P,).
    """

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        self.loss = loss
        super().__init__()

    def compute(self) -> float:
        """Loss of all patients since the reset."""
        output, values = self.gather()
        return float(self.loss(output, *values))
