"""Loss of restored image patches."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MaskedPatchLoss(nn.Module):
    """Mean squared error over the pixels of hidden patches (He et al., CVPR 2022)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute the loss from prediction and target (B, M, P) of hidden patches -> scalar."""
        return F.mse_loss(prediction.float(), target.float())
