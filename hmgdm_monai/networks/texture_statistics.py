"""Texture statistics of windows: rectified responses to whitened local filters, averaged over the window."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.errors import InputError

_SECOND_SIDE, _SECOND_STRIDE = 3, 2  # of the second layer, in responses of the first


class TextureStatistics(nn.Module):
    """Mean of relu(+r) and relu(-r) over a window, r being its responses to F whitened principal filters of patches.

    What tells tissues apart at a glance is fine and repeats: nuclei, chromatin, fibres. A code trained on pixel error
    alone spends itself on the coarse layout of a window and blurs just that. These statistics keep it, whatever the
    position. The filters are fitted once, to patches of the training windows (principal components, scaled to unit
    variance), and are part of the checkpoint; so are mean and scale of the statistics, which come out standardised.

    At a scale above 1 the window is shrunk first, by means over squares of so many px: coarser texture, of which blur
    and compression leave more.

    A second layer looks at the rectified responses of the first scale, relu(+r), through filters of its own, fitted and
    averaged like those of the first: how structures lie beside each other, over 16 px.

    Args:
        num_filters: F, at each scale.
        filter_px: side of the filters.
        stride_px: step between responses, in px of the window at any scale.
        scales: by how much windows are shrunk, S numbers.
        second_filters: F2, filters of the second layer, of 3 x 3 responses; 0 for no second layer.

    Raises:
        ValueError: more filters than a patch has principal components, or scales that are none, below 1 or longer than
            the stride.
    """

    def __init__(
        self,
        num_filters: int = 64,
        filter_px: int = 8,
        stride_px: int = 4,
        scales: Sequence[int] = (1,),
        second_filters: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < num_filters <= 3 * filter_px**2:
            raise ValueError(f"a patch of 3 x {filter_px} x {filter_px} has no {num_filters} principal components")
        if not scales or not all(1 <= scale <= stride_px for scale in scales):
            raise ValueError(f"scales must be one or more whole numbers from 1 to {stride_px}, got {tuple(scales)}")
        if not 0 <= second_filters <= num_filters * _SECOND_SIDE**2:
            raise ValueError(f"{num_filters} filters leave the second layer no {second_filters} principal components")
        self.num_filters, self.stride_px, self.scales = num_filters, stride_px, tuple(scales)
        count = num_filters * len(self.scales)
        self.register_buffer("filters", torch.zeros(count, 3, filter_px, filter_px))
        self.register_buffer("bias", torch.zeros(count))
        second = torch.zeros(second_filters, num_filters, _SECOND_SIDE, _SECOND_SIDE) if second_filters else None
        self.register_buffer("second", second)
        self.register_buffer("second_bias", torch.zeros(second_filters) if second_filters else None)
        self.register_buffer("mean", torch.zeros(2 * (count + second_filters)))
        self.register_buffer("std", torch.ones(2 * (count + second_filters)))

    @property
    def size(self) -> int:
        """2 (F S + F2), how many statistics a window has."""
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
        for scale, filters, bias in self._by_scale():
            _fit_filters(filters, bias, _shrunk(windows, scale), patches_per_window, generator)
        if self.second is not None:
            rectified = self._responses(windows, *self._by_scale()[0]).relu()
            _fit_filters(self.second, self.second_bias, rectified, patches_per_window, generator)
        self.mean.zero_()
        self.std.fill_(1.0)
        statistics = self(windows)
        self.mean.copy_(statistics.mean(0))
        self.std.copy_(statistics.std(0).clamp(min=1e-6))

    def forward(self, windows: Tensor) -> Tensor:
        """(N, 3, w, w) in [0, 1] -> (N, 2 (F S + F2)), standardised."""
        parts = []
        layers = [self._responses(windows, *filters) for filters in self._by_scale()]
        rectified = [responses.relu() for responses in layers]
        if self.second is not None:
            layers.append(F.conv2d(rectified[0], self.second, self.second_bias, stride=_SECOND_STRIDE))
            rectified.append(layers[-1].relu())
        for responses, positive in zip(layers, rectified, strict=True):
            mean = positive.mean((2, 3))
            parts += [mean, mean - responses.mean((2, 3))]  # relu(-r) = relu(r) - r
        return (torch.cat(parts, dim=1) - self.mean) / self.std

    def _responses(self, windows: Tensor, scale: int, filters: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(_shrunk(windows, scale), filters, bias, stride=self.stride_px // scale)

    def _by_scale(self) -> list[tuple[int, Tensor, Tensor]]:
        """Scale, filters (F, 3, k, k) and bias (F,), the latter two as views of the buffers."""
        return list(
            zip(self.scales, self.filters.split(self.num_filters), self.bias.split(self.num_filters), strict=True)
        )


def _shrunk(windows: Tensor, scale: int) -> Tensor:
    return windows if scale == 1 else F.avg_pool2d(windows, scale)


def _fit_filters(
    filters: Tensor, bias: Tensor, images: Tensor, per_image: int, generator: torch.Generator | None
) -> None:
    """Set filters (F, C, k, k) and bias (F,) to whitened components of patches of images (N, C, h, w), in place."""
    values = _patches(images, filters.shape[-1], per_image, generator)
    fitted = _whitened_components(values, len(filters))
    filters.copy_(fitted.reshape(filters.shape))
    bias.copy_(-(fitted @ values.mean(0)))


def _patches(windows: Tensor, side: int, per_window: int, generator: torch.Generator | None) -> Tensor:
    """Patches (M, 3 * side * side), double, at places drawn for all windows alike."""
    patches = []
    for _ in range(per_window):
        y, x = (int(torch.randint(n - side + 1, (1,), generator=generator)) for n in windows.shape[-2:])
        patches.append(windows[..., y : y + side, x : x + side].flatten(1))
    return torch.cat(patches).double()


def _whitened_components(values: Tensor, count: int) -> Tensor:
    """The first ``count`` principal axes of values (M, P), each divided by its standard deviation: (count, P)."""
    centred = values - values.mean(0)
    variance, axes = torch.linalg.eigh(centred.T @ centred / max(1, len(values) - 1))
    variance, axes = variance.flip(0).clamp(min=0), axes.flip(1)  # largest first
    if len(values) <= count or variance[0] < 1e-8:
        raise InputError(
            f"cannot fit {count} filters to {len(values)} patches of variance {variance[0]:.2g}; "
            "give more windows of tissue"
        )
    # Damped whitening: components below the noise of the camera and of JPEG must not be blown up.
    floor = 0.1 * torch.quantile(variance, 0.3)
    return (axes / (variance + floor).sqrt())[:, :count].T
