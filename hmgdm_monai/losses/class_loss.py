"""Cross entropy of patients' classes, and the losses of classes and grades by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.class_weights import class_weights
from hmgdm_monai.losses.ordinal import OrdinalLoss
from hmgdm_monai.losses.patient_loss import PatientLoss

LOSSES = ("cross_entropy", "ordinal")


class ClassLoss(PatientLoss):
    """Cross entropy of K logits, K >= 2, averaged over patients, with an optional weight for each class.

    The weighted mean is sum_i w_{y_i} loss_i / sum_i w_{y_i}, as in PyTorch.

    Args:
        weights: (K,) weight of each class; equal weights do not weight.

    Raises:
        ValueError: there are fewer than two classes.
    """

    def __init__(self, weights: Tensor | list[float]) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32).reshape(-1))
        if len(self.weights) < 2:
            raise ValueError(f"classes need two weights or more, not {len(self.weights)}")

    @property
    def num_outputs(self) -> int:
        """Number of classes K."""
        return len(self.weights)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as stored in a model file."""
        return {"name": "cross_entropy", "weights": self.weights.tolist()}

    def forward(self, output: Tensor, label: Tensor) -> Tensor:
        """Compute the loss of B patients.

        Args:
            output: (B, K) logits.
            label: (B,) class of each patient, 0 to K - 1.
        """
        return F.cross_entropy(output, label.long(), weight=self.weights.to(output.dtype))

    def predict(self, output: Tensor) -> Tensor:
        """Probability (B, K) of each class."""
        return output.softmax(1)


def class_loss(
    name: str = "cross_entropy", num_classes: int = 2, balanced: bool = True, label: np.ndarray | None = None
) -> ClassLoss | OrdinalLoss:
    """Build a loss of classes.

    Args:
        name: "cross_entropy", or "ordinal" for classes in order (grades).
        num_classes: number of classes K.
        balanced: cross_entropy: give all classes equal weight, whatever their number of patients.
        label: (P,) classes of the training patients; required if balanced.

    Raises:
        InputError: the loss does not exist, or labels are missing, or a class has no training patient.
    """
    if name not in LOSSES:
        raise InputError(f"no loss of classes is called {name!r}; there are {', '.join(LOSSES)}")
    if name == "ordinal":
        return OrdinalLoss(num_classes)
    if not balanced:
        return ClassLoss([1.0] * num_classes)
    if label is None:
        raise InputError("loss cross_entropy: its balanced weights need the classes of training patients; give label")
    try:
        return ClassLoss(class_weights(np.asarray(label, int), num_classes))
    except ValueError as error:
        raise InputError(f"loss cross_entropy: {error}; use fewer folds, or set balanced to false") from error
