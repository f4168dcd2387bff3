"""Negative log likelihood of ordered classes (grades)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.losses.patient_loss import PatientLoss


class OrdinalLoss(PatientLoss):
    """Negative log likelihood of K ordered grades by K - 1 conditional logits, averaged over patients.

    The model is CORN's (Shi, Cao and Raschka, Pattern Analysis and Applications 2023), the successor of CORAL: logit k
    gives the probability to exceed grade k among those who reach it, P(y > k | y >= k) = sigmoid(logit_k). So
    P(y > k) = prod_{j <= k} sigmoid(logit_j) never rises with k, without parameters outside of the network. A patient
    of grade y contributes

        - sum_{k < y} log sigmoid(logit_k) - log(1 - sigmoid(logit_y)),  without the last term for the highest grade.

    Differs from the paper, which averages over the terms: here each patient has equal weight.

    Args:
        num_classes: number of grades K, at least 2.

    Raises:
        ValueError: there are fewer than two grades.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, not {num_classes}")
        self.num_classes = int(num_classes)

    @property
    def num_outputs(self) -> int:
        """K - 1."""
        return self.num_classes - 1

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as stored in a model file."""
        return {"name": "ordinal", "num_classes": self.num_classes}

    def forward(self, output: Tensor, label: Tensor) -> Tensor:
        """Compute the loss of B patients.

        Args:
            output: (B, K - 1) logits.
            label: (B,) grade of each patient, 0 to K - 1.
        """
        grade = torch.arange(self.num_outputs, device=output.device)
        label = label.long()[:, None]
        reached = F.logsigmoid(output) * (grade < label)
        stopped = F.logsigmoid(-output) * (grade == label)
        return -(reached + stopped).sum(1).mean()

    def predict(self, output: Tensor) -> Tensor:
        """Probability (B, K) of each grade."""
        above = F.logsigmoid(output).cumsum(1).exp()
        edge = above[:, :1]
        above = torch.cat((torch.ones_like(edge), above, torch.zeros_like(edge)), 1)
        return above[:, :-1] - above[:, 1:]
