"""Loss of the window autoencoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class WindowAutoencoderLoss(nn.Module):
    """L = mse(windows) / pixel_variance + beta * KL.

    The error of the windows is divided by the variance of tissue pixels, so that it is the share of unexplained
    variance.

    Args:
        beta: weight of the KL divergence, which is summed over latent channels (L_KL in the paper).
        pixel_variance: variance of pixel values in [0, 1] in the training windows.

    Raises:
        ValueError: the weight is negative, or the variance is not above 0.
    """

    def __init__(self, beta: float = 1e-4, pixel_variance: float = 0.04) -> None:
        super().__init__()
        if not beta >= 0 or not pixel_variance > 0:
            raise ValueError(f"need beta >= 0 and pixel_variance > 0, got {beta} and {pixel_variance}")
        self.beta, self.pixel_variance = beta, pixel_variance

    def forward(self, reconstruction: Tensor, windows: Tensor, kl: Tensor) -> Tensor:
        """Compute the loss from reconstruction and windows (N, 3, w, w) in [0, 1], and kl (scalar) -> scalar."""
        return F.mse_loss(reconstruction, windows) / self.pixel_variance + self.beta * kl
