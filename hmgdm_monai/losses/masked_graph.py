"""Loss of masked graph diffusion."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.losses.info_nce import GlobalContrastiveLoss
from hmgdm_monai.ranks import mean_weight


class MaskedGraphLoss(nn.Module):
    """0.5 * mse(vertices) + 0.5 * mse(edges) + kl_weight * KL, on the hidden halves alone, + agreement.

    Agreement, which the paper does not have, is the contrastive loss of a graph's visible and hidden half against those
    of the other graphs (:class:`~hmgdm_monai.losses.info_nce.GlobalContrastiveLoss`), times ``agreement_weight``.

    Where ranks share a batch, each weighs its means by :func:`hmgdm_monai.ranks.mean_weight`, so that the average over
    ranks is the loss of the whole batch.

    Args:
        kl_weight: weight of the bottleneck's KL divergence (the published code: 1).
        edge_weight: share of the edges' term, between 0 and 1; the vertices get the rest.
        agreement_weight: weight of the agreement of the two halves.
        temperature: of the agreement; divides cosines.

    Raises:
        ValueError: for a negative weight, a share outside [0, 1] or a temperature that is not above 0.
    """

    def __init__(
        self,
        kl_weight: float = 1.0,
        edge_weight: float = 0.5,
        agreement_weight: float = 0.0,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        if kl_weight < 0 or agreement_weight < 0 or not 0 <= edge_weight <= 1:
            raise ValueError(
                f"need kl_weight and agreement_weight >= 0 and edge_weight in [0, 1], got {kl_weight}, "
                f"{agreement_weight} and {edge_weight}"
            )
        self.kl_weight, self.edge_weight, self.agreement_weight = kl_weight, edge_weight, agreement_weight
        self.agreement = GlobalContrastiveLoss(temperature)

    def forward(
        self,
        vertex_prediction: Tensor,
        vertex_target: Tensor,
        edge_prediction: Tensor | None,
        edge_target: Tensor | None,
        kl: Tensor,
        visible_view: Tensor | None = None,
        hidden_view: Tensor | None = None,
        shared: bool = True,
    ) -> Tensor:
        """Vertices (Vh, Z), edges (Eh, Z) or None, kl scalar, views (B, P) or None -> scalar.

        A kind without hidden entities adds nothing. ``shared`` says whether ranks hold parts of one batch.
        """
        loss = _mse(vertex_prediction, vertex_target)
        if edge_prediction is not None and edge_target is not None:
            loss = (1 - self.edge_weight) * loss + self.edge_weight * _mse(edge_prediction, edge_target)
        loss = loss + self.kl_weight * kl
        if visible_view is not None and hidden_view is not None and self.agreement_weight > 0:
            loss = loss + self.agreement_weight * self.agreement(visible_view, hidden_view, shared)
        return loss


def _mse(prediction: Tensor, target: Tensor) -> Tensor:
    weight = mean_weight(len(prediction), prediction.device)  # before any branch: the other ranks wait for it
    if prediction.numel() == 0:  # the mean of nothing is NaN
        return prediction.sum()
    return F.mse_loss(prediction, target) * weight
