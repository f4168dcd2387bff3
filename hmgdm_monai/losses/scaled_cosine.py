"""Scaled cosine error of restored latents."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.ranks import mean_weight


class ScaledCosineLoss(nn.Module):
    """Mean of (1 - cosine)^gamma over entities (Hou et al., GraphMAE, KDD 2022).

    If ranks share a batch, each weights its mean by :func:`hmgdm_monai.ranks.mean_weight`, so that the average over
    ranks is the loss of the whole batch.

    Args:
        gamma: exponent, at least 1; high values reduce the weight of entities that are nearly right.

    Raises:
        ValueError: ``gamma`` is below 1.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 1:
            raise ValueError(f"gamma must be at least 1, got {gamma}")
        self.gamma = gamma

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute the loss from prediction and target (N, Z) -> scalar; 0 without entities."""
        weight = mean_weight(len(prediction), prediction.device)  # before any branch, because other ranks wait for it
        if prediction.numel() == 0:  # the mean of no elements is NaN
            return prediction.sum()
        cosine = F.cosine_similarity(prediction.float(), target.float(), dim=-1)
        # Rounding may give a cosine above 1, and a fractional power of a negative number is NaN.
        return (1.0 - cosine).clamp(min=0.0).pow(self.gamma).mean() * weight
