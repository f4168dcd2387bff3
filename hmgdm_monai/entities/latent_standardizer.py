"""Standardize latents by mean and scale of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentStandardizer(nn.Module):
    """Mean and scale of each latent channel, fitted once on training latents and stored in the checkpoint.

    Diffusion adds noise of unit variance to latents, so they must have unit scale; the codes of a KL-regularized
    autoencoder usually do not.

    Args:
        latent_dim: number of latent channels Z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Fit to latents (N, Z); constant channels are only centered, because their scale is unknown.

        Raises:
            ValueError: there are no latents, or not all are finite.
        """
        if len(latents) == 0 or not latents.isfinite().all():
            raise ValueError("latents to standardize must be finite, and there must be at least one row")
        std = latents.std(0, correction=0)
        self.mean.copy_(latents.mean(0))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, latents: Tensor) -> Tensor:
        """Standardize latents (N, Z): mean 0 and variance 1 on the data of the fit."""
        return (latents - self.mean) / self.std

    def inverse(self, latents: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return latents * self.std + self.mean
