"""Self-distillation without labels: the student predicts the teacher's output for the other view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.losses.gathering import total
from hmgdm_monai.ranks import num_ranks


class DINOLoss(nn.Module):
    """Cross-entropy of the teacher on one view and the student on the other, symmetrized (Caron et al., ICCV 2021).

    With p = softmax((teacher - center) / ``teacher_temperature``) and q = softmax(student / ``student_temperature``):
    0.5 (H(p_1, q_2) + H(p_2, q_1)), averaged over items. The center is a running mean of the teacher's logits over both
    views; it prevents that one prototype always wins. In training mode, each call uses the current center and then
    updates it; in evaluation mode it is constant. The center is a state of training: store ``state_dict()`` in
    checkpoints.

    The teacher gets no gradient; its weights are a moving average of the student's, computed elsewhere.

    Several processes share one center. The mean over processes is the loss of the joint batch (see
    :mod:`~hmgdm_monai.losses.gathering`).

    Args:
        num_prototypes: number of logits K.
        student_temperature: temperature of the student's softmax.
        teacher_temperature: temperature of the teacher's softmax; lower values sharpen its targets.
        center_momentum: share of the center that is kept at each step, in [0, 1].

    Raises:
        ValueError: a setting is out of range, or (when called) the shapes do not match.
    """

    def __init__(
        self,
        num_prototypes: int,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if num_prototypes < 1 or student_temperature <= 0 or teacher_temperature <= 0:
            raise ValueError(
                f"need num_prototypes >= 1 and temperatures above 0, got {num_prototypes}, {student_temperature} and "
                f"{teacher_temperature}"
            )
        if not 0 <= center_momentum <= 1:
            raise ValueError(f"center_momentum must lie in [0, 1], not {center_momentum}")
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.center_momentum = center_momentum
        self.center: Tensor
        self.register_buffer("center", torch.zeros(num_prototypes))

    def forward(
        self, student_1: Tensor, student_2: Tensor, teacher_1: Tensor, teacher_2: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Compute the loss of two views.

        Args:
            student_1: (..., K) student logits of view 1.
            student_2: (..., K) student logits of view 2.
            teacher_1: (..., K) teacher logits of view 1.
            teacher_2: (..., K) teacher logits of view 2.
            weights: (...) bool or non-negative, weight of each item in loss and center; None weights all equally.

        Returns:
            Scalar. If all weights are 0, the loss and its gradients are 0, and the center does not change.
        """
        self._check(student_1, student_2, teacher_1, teacher_2, weights)
        dtype = torch.promote_types(student_1.dtype, torch.float32)
        if weights is None:
            weights = student_1.new_ones(student_1.shape[:-1])
        weights = weights.to(dtype)
        total_weight = total(weights.sum())
        entropy = self._cross_entropy(teacher_1, student_2, dtype) + self._cross_entropy(teacher_2, student_1, dtype)
        loss = 0.5 * num_ranks() * (entropy * weights).sum() / _divisor(total_weight)
        if self.training:
            self.update_center(teacher_1, teacher_2, weights)
        return loss

    @torch.no_grad()
    def update_center(self, teacher_1: Tensor, teacher_2: Tensor, weights: Tensor | None = None) -> None:
        """Move the center towards the mean of the teacher's logits (..., K) of both views, over all processes.

        Args:
            teacher_1: (..., K) teacher logits of view 1.
            teacher_2: (..., K) teacher logits of view 2.
            weights: (...) weight of each item; None weights all equally.
        """
        logits = 0.5 * (teacher_1.to(self.center) + teacher_2.to(self.center)).flatten(0, -2)
        weights = logits.new_ones(len(logits)) if weights is None else weights.to(logits).flatten()
        # One sum over processes for both: the weighted logits and their weights.
        sums = total(torch.cat((weights @ logits, weights.sum()[None])))
        moved = torch.lerp(sums[:-1] / _divisor(sums[-1]), self.center, self.center_momentum)
        self.center.copy_(torch.where(sums[-1] > 0, moved, self.center))

    def _cross_entropy(self, teacher: Tensor, student: Tensor, dtype: torch.dtype) -> Tensor:
        targets = F.softmax((teacher.detach() - self.center) / self.teacher_temperature, -1, dtype=dtype)
        return -(targets * F.log_softmax(student / self.student_temperature, -1, dtype=dtype)).sum(-1)

    def _check(self, *tensors: Tensor | None) -> None:
        *logits, weights = tensors
        shapes = {tuple(x.shape) for x in logits if x is not None}
        shape = next(iter(shapes))
        if len(shapes) > 1 or len(shape) < 2 or shape[-1] != len(self.center):
            raise ValueError(f"need four tensors of one shape (..., {len(self.center)}), got {sorted(shapes)}")
        if weights is not None and weights.shape != shape[:-1]:
            raise ValueError(f"weights of shape {tuple(weights.shape)} for logits of shape {shape}")


def _divisor(x: Tensor) -> Tensor:
    """The value itself, or 1 instead of 0: the dividend is then 0."""
    return torch.where(x > 0, x, torch.ones_like(x))
