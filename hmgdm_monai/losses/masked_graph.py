"""Loss of masked graph diffusion."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.ranks import mean_weight


class MaskedGraphLoss(nn.Module):
    """0.5 * mse(vertices) + 0.5 * mse(edges) + kl_weight * KL, only on the hidden halves.

    If ranks share a batch, each weights its means by :func:`hmgdm_monai.ranks.mean_weight`, so that the average over
    ranks is the loss of the whole batch.

    Args:
        kl_weight: weight of the bottleneck's KL divergence; 1 in the published code.
        edge_weight: weight of the edge term, between 0 and 1; the vertex term has the rest.

    Raises:
        ValueError: a weight is out of range.

    Example:
        >>> import torch
        >>> from hmgdm_monai import MaskedGraphLoss
        >>> vertices, edges, kl = torch.ones(2, 8), torch.ones(3, 8), torch.tensor(0.0)
        >>> MaskedGraphLoss()(vertices, 0 * vertices, edges, 3 * edges, kl)  # 0.5 * 1 + 0.5 * 4
        tensor(2.5000)
    """

    def __init__(self, kl_weight: float = 0.0, edge_weight: float = 0.5) -> None:
        super().__init__()
        if not kl_weight >= 0 or not 0 <= edge_weight <= 1:
            raise ValueError(f"need kl_weight >= 0 and edge_weight in [0, 1], got {kl_weight} and {edge_weight}")
        self.kl_weight, self.edge_weight = kl_weight, edge_weight

    def forward(
        self,
        vertex_prediction: Tensor,
        vertex_target: Tensor,
        edge_prediction: Tensor | None,
        edge_target: Tensor | None,
        kl: Tensor,
    ) -> Tensor:
        """Compute the loss from vertices (Vh, Z), edges (Eh, Z) or None, and kl (scalar); empty terms are 0.

        Args:
            vertex_prediction: (Vh, Z).
            vertex_target: (Vh, Z).
            edge_prediction: (Eh, Z); None if edges have no latents.
            edge_target: (Eh, Z); None if edges have no latents.
            kl: scalar, KL divergence of the bottleneck.
        """
        loss = _mse(vertex_prediction, vertex_target)
        if edge_prediction is not None and edge_target is not None:
            loss = (1 - self.edge_weight) * loss + self.edge_weight * _mse(edge_prediction, edge_target)
        return loss + self.kl_weight * kl


def _mse(prediction: Tensor, target: Tensor) -> Tensor:
    weight = mean_weight(len(prediction), prediction.device)  # before any branch, because other ranks wait for it
    if prediction.numel() == 0:  # the mean of no elements is NaN
        return prediction.sum()
    return F.mse_loss(prediction, target) * weight
