"""Contrastive loss of whole images: the two views of an image are similar, views of other images are not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.losses.gathering import gather_with_gradients
from hmgdm_monai.ranks import rank


class GlobalContrastiveLoss(nn.Module):
    """NT-Xent: each of 2B views must recognize its partner among the 2B - 1 others (Chen et al., SimCLR, ICML 2020).

    The similarity is the cosine divided by the temperature. Negatives come from all processes, each of which uses its
    own images as anchors; the mean over processes is the loss of the joint batch. Batches must have equal size in all
    processes (see :mod:`~hmgdm_monai.losses.gathering`).

    MONAI's ``ContrastiveLoss`` gives the same value in one process. It is not used because it expands all pairs to
    (2B, 2B, D), exponentiates without subtracting the largest logit (float32 overflows for temperatures below 0.0113),
    and would compute all anchors in all processes.

    Args:
        temperature: divisor of the cosine.

    Raises:
        ValueError: the temperature is not above 0, or (when called) the shapes do not match.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        self.temperature = temperature

    def forward(self, view_1: Tensor, view_2: Tensor, shared: bool = True) -> Tensor:
        """Compute the loss of B images; a single image gives 0.

        Args:
            view_1: (B, D) projections of view 1.
            view_2: (B, D) projections of view 2.
            shared: whether processes hold parts of one batch; False if each has the whole batch.

        Returns:
            Scalar.
        """
        if view_1.shape != view_2.shape or view_1.ndim != 2:
            raise ValueError(f"need two tensors of one shape (B, D), got {tuple(view_1.shape)}, {tuple(view_2.shape)}")
        count = len(view_1)
        dtype = torch.promote_types(view_1.dtype, torch.float32)
        anchors = F.normalize(
            torch.stack((view_1, view_2), 1).to(dtype), dim=-1
        )  # (B, 2, D): the two views of an image are adjacent
        candidates = (gather_with_gradients(anchors) if shared else anchors).flatten(0, 1)
        logits = anchors.flatten(0, 1) @ candidates.T / self.temperature
        own = torch.arange(2 * count, device=logits.device) + (2 * count * rank() if shared else 0)
        logits = logits.masked_fill(F.one_hot(own, len(candidates)).bool(), -torch.inf)
        return F.cross_entropy(logits, own ^ 1)  # views 2 i and 2 i + 1 are partners
