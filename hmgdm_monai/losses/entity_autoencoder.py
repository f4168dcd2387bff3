"""Loss of the entity autoencoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class EntityAutoencoderLoss(nn.Module):
    """L = mse(windows) / pixel_variance + texture_weight * mse(texture) + beta * KL.

    The windows' error is divided by the variance of tissue pixels, so that it reads as a share of variance not
    explained, as the texture term (on standardised statistics) does, and both weigh alike.

    Args:
        beta: weight of the KL divergence per latent channel sum (L_KL of the paper).
        texture_weight: weight of the texture statistics.
        pixel_variance: variance of pixel values in [0, 1] within the training windows.

    Raises:
        ValueError: for a negative weight or a variance that is not positive.
    """

    def __init__(self, beta: float = 1e-4, texture_weight: float = 1.0, pixel_variance: float = 0.04) -> None:
        super().__init__()
        if beta < 0 or texture_weight < 0 or pixel_variance <= 0:
            raise ValueError(
                f"need beta, texture_weight >= 0 and pixel_variance > 0, got {beta}, {texture_weight}, {pixel_variance}"
            )
        self.beta, self.texture_weight, self.pixel_variance = beta, texture_weight, pixel_variance

    def forward(
        self, reconstruction: Tensor, windows: Tensor, texture_hat: Tensor | None, texture: Tensor | None, kl: Tensor
    ) -> Tensor:
        """reconstruction, windows (N, 3, w, w); texture_hat, texture (N, 2F) or None; kl scalar -> scalar."""
        loss = F.mse_loss(reconstruction, windows) / self.pixel_variance + self.beta * kl
        if texture is not None and texture_hat is not None:
            loss = loss + self.texture_weight * F.mse_loss(texture_hat, texture)
        return loss
