"""Texture statistics of windows: rectified responses to whitened local filters, averaged over the window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.errors import InputError


class TextureStatistics(nn.Module):
    """Mean of relu(+r) and relu(-r) over a window, r being its responses to F whitened principal filters of patches.

    What tells tissues apart at a glance is fine and repeats: nuclei, chromatin, fibres. A code trained on pixel error
    alone spends itself on the coarse layout of a window and blurs just that. These statistics keep it, whatever the
    position. The filters are fitted once, to patches of the training windows (principal components, scaled to unit
    variance), and are part of the checkpoint; so are mean and scale of the statistics, which come out standardised.

    Args:
        num_filters: F.
        filter_px: side of the filters.
        stride_px: step between responses.
    """

    def __init__(self, num_filters: int = 64, filter_px: int = 8, stride_px: int = 4) -> None:
        super().__init__()
        if not 0 < num_filters <= 3 * filter_px**2:
            raise ValueError(f"a patch of 3 x {filter_px} x {filter_px} has no {num_filters} principal components")
        self.stride_px = stride_px
        self.register_buffer("filters", torch.zeros(num_filters, 3, filter_px, filter_px))
        self.register_buffer("bias", torch.zeros(num_filters))
        self.register_buffer("mean", torch.zeros(2 * num_filters))
        self.register_buffer("std", torch.ones(2 * num_filters))

    @property
    def size(self) -> int:
        """2F, how many statistics a window has."""
        return int(self.mean.shape[0])

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` has been called, here or before the checkpoint was written."""
        return bool(self.filters.any())

    @torch.no_grad()
    def fit(self, windows: Tensor, patches_per_window: int = 8, generator: torch.Generator | None = None) -> None:
        """Fit filters and scale to windows (N, 3, w, w) with values in [0, 1].

        Raises:
            InputError: if the windows hold fewer patches than filters, or nothing varies in them.
        """
        side = self.filters.shape[-1]
        patches = []
        for _ in range(patches_per_window):
            y, x = (int(torch.randint(n - side + 1, (1,), generator=generator)) for n in windows.shape[-2:])
            patches.append(windows[..., y : y + side, x : x + side].flatten(1))
        values = torch.cat(patches).double()
        centred = values - values.mean(0)
        variance, axes = torch.linalg.eigh(centred.T @ centred / max(1, len(values) - 1))
        variance, axes = variance.flip(0).clamp(min=0), axes.flip(1)  # largest first
        if len(values) <= len(self.filters) or variance[0] < 1e-8:
            raise InputError(
                f"cannot fit {len(self.filters)} filters to {len(values)} patches of variance {variance[0]:.2g}; "
                "give more windows of tissue"
            )
        # Damped whitening: components below the noise of the camera and of JPEG must not be blown up.
        floor = 0.1 * torch.quantile(variance, 0.3)
        filters = (axes / (variance + floor).sqrt())[:, : len(self.filters)].T
        self.filters.copy_(filters.reshape(self.filters.shape))
        self.bias.copy_(-(filters @ values.mean(0)))
        self.mean.zero_()
        self.std.fill_(1.0)
        statistics = self(windows)
        self.mean.copy_(statistics.mean(0))
        self.std.copy_(statistics.std(0).clamp(min=1e-6))

    def forward(self, windows: Tensor) -> Tensor:
        """(N, 3, w, w) in [0, 1] -> (N, 2F), standardised."""
        responses = F.conv2d(windows, self.filters, self.bias, stride=self.stride_px)
        positive = responses.relu().mean((2, 3))
        statistics = torch.cat((positive, positive - responses.mean((2, 3))), dim=1)  # relu(-r) = relu(r) - r
        return (statistics - self.mean) / self.std
