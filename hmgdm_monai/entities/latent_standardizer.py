"""Latents to unit scale, by mean and scale per channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentStandardizer(nn.Module):
    """Mean and scale per latent channel, fitted once on training latents and kept in the checkpoint.

    Diffusion mixes latents with unit noise, so they must have unit scale; a KL-regularized code seldom has.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Fit on latents (N, Z); channels that never vary are only centered, as no scale is known for them.

        Raises:
            ValueError: if there are no latents, or not all are finite.
        """
        if len(latents) == 0 or not latents.isfinite().all():
            raise ValueError("latents to standardize must be finite, and there must be at least one row")
        std = latents.std(0, correction=0)
        self.mean.copy_(latents.mean(0))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, latents: Tensor) -> Tensor:
        """Standardize latents (N, Z): mean 0 and variance 1 on the data it was fitted to."""
        return (latents - self.mean) / self.std

    def inverse(self, latents: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return latents * self.std + self.mean
