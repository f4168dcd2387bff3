"""Loss of the window autoencoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class WindowAutoencoderLoss(nn.Module):
    """L = mse(windows) / pixel_variance + beta * KL.

    The windows' error is divided by the variance of tissue pixels, so that it reads as a share of variance that is not
    explained.

    Args:
        beta: weight of the KL divergence, summed over latent channels (L_KL of the paper).
        pixel_variance: variance of pixel values in [0, 1] within the training windows.

    Raises:
        ValueError: for a negative weight or a variance that is not positive.
    """

    def __init__(self, beta: float = 1e-4, pixel_variance: float = 0.04) -> None:
        super().__init__()
        if not beta >= 0 or not pixel_variance > 0:
            raise ValueError(f"need beta >= 0 and pixel_variance > 0, got {beta} and {pixel_variance}")
        self.beta, self.pixel_variance = beta, pixel_variance

    def forward(self, reconstruction: Tensor, windows: Tensor, kl: Tensor) -> Tensor:
        """reconstruction, windows (N, 3, w, w) in [0, 1]; kl scalar -> scalar."""
        return F.mse_loss(reconstruction, windows) / self.pixel_variance + self.beta * kl
