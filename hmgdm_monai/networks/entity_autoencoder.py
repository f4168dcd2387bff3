"""Entity autoencoder (E_P, D_P): instance windows of vertices and edges to latents and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.texture_statistics import TextureStatistics
from hmgdm_monai.networks.tile_discriminants import tile_discriminants


class EntityAutoencoderOutput(NamedTuple):
    """reconstruction (N, 3, w, w); texture (N, T), its estimate texture_hat (N, T); kl; latents (N, Z).

    ``latents`` are the posterior's means; ``kl`` is summed over latent channels and averaged over windows. Both
    textures are None without a texture code.
    """

    reconstruction: Tensor
    texture: Tensor | None
    texture_hat: Tensor | None
    kl: Tensor
    latents: Tensor


# Of the posterior of a code that was set to principal components: little noise, since those are not learnt with any.
_INITIAL_LOG_VARIANCE = -4.0


class EntityAutoencoder(nn.Module):
    """KL-regularised autoencoder of windows, with a code for form and one for texture.

    *Form* is diffusers' ``AutoencoderKL`` on patchified windows: the window is unshuffled by ``patch_px`` before the
    first convolution, so that convolutions see (w / patch_px)^2 positions instead of w^2. Beside it runs a linear
    shortcut, which :meth:`fit` sets to the principal components, so that the network starts from the best linear code
    and learns what that lacks. *Texture* is a linear Gaussian code of :class:`TextureStatistics`: their principal
    components and, beside them, the directions in which tiles differ most (:func:`tile_discriminants`). The latent is
    form, components and discriminants, side by side. Without ``widths`` there are no convolutions, and the linear path
    is the code of form.

    Departs from the paper, whose AutoencoderKL works on pixels and has a code of form alone: set ``patch_px=1``,
    ``shortcut=False``, ``texture_dim=0`` and widths for that. docs/benchmarks.md has what each change buys.

    Args:
        window_px: w.
        patch_px: side of the patches that become channels; 1 for none.
        widths: channels of AutoencoderKL's blocks; each after the first halves the side. Empty for none.
        form_channels: channels of the form code, at the side that the blocks leave.
        texture_dim: principal components in the texture code; 0 for no texture code at all.
        discriminant_dim: directions in which tiles differ, in the texture code beside them.
        num_filters: filters behind the texture statistics, at each scale.
        texture_scales: by how much windows are shrunk before the filters see them, one number for each scale.
        second_filters: filters of a second layer, on the responses of the first; 0 for none.
        shortcut: add the linear path.

    Raises:
        ValueError: where w does not divide by patches and halvings, a width is no multiple of 8, the texture code is
            larger than the statistics that it stands for or has discriminants alone, or there is neither a convolution
            nor a linear path.
    """

    def __init__(
        self,
        window_px: int = 32,
        patch_px: int = 4,
        widths: Sequence[int] = (16, 32),
        form_channels: int = 1,
        texture_dim: int = 48,
        num_filters: int = 64,
        texture_scales: Sequence[int] = (1,),
        second_filters: int = 0,
        discriminant_dim: int = 0,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        if not widths and not shortcut:
            raise ValueError("without widths and without shortcut nothing would encode the form of a window")
        shrink = patch_px * 2 ** max(0, len(widths) - 1)
        if window_px % shrink:
            raise ValueError(f"window_px must be a multiple of {shrink} (patches and halvings), got {window_px}")
        if any(width % 8 for width in widths):
            raise ValueError(f"widths must be multiples of 8 (groups of the normalisation), got {tuple(widths)}")
        num_statistics = 2 * (num_filters * len(texture_scales) + second_filters)
        for size in (texture_dim, discriminant_dim):
            if size > num_statistics:
                raise ValueError(f"{num_filters} filters give {num_statistics} statistics, no code of {size}")
        if discriminant_dim and not texture_dim:
            raise ValueError(f"discriminant_dim {discriminant_dim} needs a texture code, and texture_dim is 0")
        self.window_px, self.patch_px = window_px, patch_px
        self.form_shape = (form_channels, window_px // shrink, window_px // shrink)
        self.form_dim = form_channels * (window_px // shrink) ** 2
        self.texture_dim, self.discriminant_dim = texture_dim, discriminant_dim
        self.form = _convolutions(patch_px, widths, form_channels) if widths else None
        if not widths:
            self.form_log_variance = nn.Parameter(torch.full((self.form_dim,), _INITIAL_LOG_VARIANCE))
        pixels = 3 * window_px**2
        self.linear_in = nn.Linear(pixels, self.form_dim) if shortcut else None
        self.linear_out = nn.Linear(self.form_dim, pixels) if shortcut else None
        code_dim = texture_dim + discriminant_dim
        self.statistics = (
            TextureStatistics(num_filters, scales=texture_scales, second_filters=second_filters) if code_dim else None
        )
        self.texture_moments = nn.Linear(num_statistics, 2 * code_dim) if code_dim else None
        self.texture_decoder = nn.Linear(code_dim, num_statistics) if code_dim else None

    @property
    def latent_dim(self) -> int:
        """Z = form_dim + texture_dim + discriminant_dim."""
        return self.form_dim + self.texture_dim + self.discriminant_dim

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` has been called, here or before the checkpoint was written."""
        return self.statistics is None or self.statistics.fitted

    @torch.no_grad()
    def fit(
        self,
        windows: Tensor,
        tiles: Tensor | None = None,
        originals: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Fit what has a closed form to training windows: texture filters and code, and linear shortcut.

        Args:
            windows: (N, 3, w, w) in [0, 1].
            tiles: (N,) integer, which tile each is of; discriminants need it.
            originals: (N, 3, w, w), the windows before some of them were degraded; None where none was. Discriminants
                are made to attend little to what degrading changes.
            generator: of the places of patches.

        Raises:
            InputError: if there are fewer windows than latents, nothing varies in them, or too few tiles to tell apart.
            ValueError: discriminants, and no tiles.
        """
        if self.statistics is not None:
            self.statistics.fit(windows, generator=generator)
            statistics = self.statistics(windows)
            mean, axes, scale = _principal_components(statistics, self.texture_dim)
            _set_linear(self.texture_moments, self.texture_decoder, mean, axes, scale)
            if self.discriminant_dim:
                self._fit_discriminants(windows, statistics, tiles, originals)
            self.texture_moments.bias[self.texture_dim + self.discriminant_dim :] = _INITIAL_LOG_VARIANCE
        if self.linear_in is not None:
            mean, axes, scale = _principal_components(windows.flatten(1), self.form_dim)
            _set_linear(self.linear_in, self.linear_out, mean, axes, scale)
            if self.form is None:
                return
            # The convolutional path begins at zero: mean and reconstruction are those of the principal components.
            for layer in (self.form.quant_conv, self.form.decoder.conv_out):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            self.form.quant_conv.bias[self.form_shape[0] :] = _INITIAL_LOG_VARIANCE

    def _fit_discriminants(
        self, windows: Tensor, statistics: Tensor, tiles: Tensor | None, originals: Tensor | None
    ) -> None:
        if tiles is None:
            raise ValueError("discriminants tell tiles apart: give fit the tile of each window, or discriminant_dim=0")
        changes = None
        if originals is not None:
            moved = (windows != originals).flatten(1).any(1)
            changes = statistics[moved] - self.statistics(originals[moved])
        axes = tile_discriminants(statistics, tiles, self.discriminant_dim, changes)
        mean, rows = statistics.mean(0), slice(self.texture_dim, self.texture_dim + self.discriminant_dim)
        # One scale for all of them, as of the components. The decoder restores statistics from components alone.
        scale = ((statistics - mean) @ axes).square().mean().sqrt().clamp(min=1e-6)
        self.texture_moments.weight[rows] = axes.T / scale
        self.texture_moments.bias[rows] = -(axes.T @ mean) / scale

    def moments(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Windows (N, 3, w, w) in [0, 1] -> mean (N, Z), log-variance (N, Z), texture (N, T) or None.

        Raises:
            ValueError: if the windows have another size, or the texture statistics are not fitted.
        """
        if windows.shape[-3:] != (3, self.window_px, self.window_px):
            raise ValueError(
                f"expected windows of (3, {self.window_px}, {self.window_px}), got {tuple(windows.shape[1:])}"
            )
        mean, log_variance = self._form_moments(windows)
        if self.statistics is None or self.texture_moments is None:
            return mean, log_variance, None
        if not torch.compiler.is_exporting() and not self.statistics.fitted:  # an export has no values to ask
            raise ValueError("the autoencoder is not fitted: call fit on training windows first")
        texture = self.statistics(windows)
        texture_mean, texture_log_variance = self.texture_moments(texture).chunk(2, dim=1)
        mean = torch.cat((mean, texture_mean), dim=1)
        return mean, torch.cat((log_variance, texture_log_variance.clamp(-30.0, 20.0)), dim=1), texture

    def encode(self, windows: Tensor) -> Tensor:
        """Latents (N, Z) of windows (N, 3, w, w) in [0, 1]: the posterior's mean, without noise."""
        return self.moments(windows)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Windows (N, 3, w, w) in [0, 1] from latents (N, Z); the texture code has no pixels of its own."""
        return self._reconstruct(latents).clamp(0.0, 1.0)

    def forward(
        self, windows: Tensor, generator: torch.Generator | None = None, among: Tensor | None = None
    ) -> EntityAutoencoderOutput:
        """Encode, sample the posterior (in training), decode: what the loss needs.

        Args:
            windows: (N, 3, w, w) in [0, 1].
            generator: CPU source of the posterior's noise.
            among: (M,) bool, True for the N of M windows that are here where ranks share a draw; noise is then drawn
                for all M, so that each window gets the same whoever has it.
        """
        mean, log_variance, texture = self.moments(windows)
        latents = mean
        if self.training:
            noise = torch.randn(len(mean) if among is None else len(among), mean.shape[1], generator=generator).to(mean)
            noise = noise if among is None else noise[among]
            latents = mean + (0.5 * log_variance).exp() * noise
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
        reconstruction = self._reconstruct(latents)  # not clamped as in decode: a clamped pixel has no gradient
        texture_hat = None if self.texture_decoder is None else self.texture_decoder(latents[:, self.form_dim :])
        return EntityAutoencoderOutput(reconstruction, texture, texture_hat, kl, mean)

    def _form_moments(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        if self.form is None:
            mean = self.linear_in(windows.flatten(1))
            return mean, self.form_log_variance.clamp(-30.0, 20.0).expand_as(mean)
        form = self.form.encode(F.pixel_unshuffle(2.0 * windows - 1.0, self.patch_px)).latent_dist
        mean = form.mean.flatten(1)
        if self.linear_in is not None:
            mean = mean + self.linear_in(windows.flatten(1))
        return mean, form.logvar.flatten(1)

    def _reconstruct(self, latents: Tensor) -> Tensor:
        form, shape = latents[:, : self.form_dim], (3, self.window_px, self.window_px)
        linear = 0.5 if self.linear_out is None else self.linear_out(form).unflatten(1, shape)
        if self.form is None:
            return linear
        patches = self.form.decode(form.unflatten(1, self.form_shape)).sample
        return 0.5 * F.pixel_shuffle(patches, self.patch_px) + linear


def _convolutions(patch_px: int, widths: Sequence[int], channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3 * patch_px**2,
        out_channels=3 * patch_px**2,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def _principal_components(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (P,), first ``count`` axes (P, count) and one scale for all of them, from values (N, P).

    One scale gives the components unit variance on average and keeps their relative weight.
    """
    if len(values) <= count:
        raise InputError(f"cannot fit {count} components to {len(values)} windows; give more windows of tissue")
    mean = values.mean(0)
    # Randomised: the exact decomposition of 3,072 pixels takes a minute. A seed of its own keeps it reproducible.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, singular, axes = torch.pca_lowrank(values - mean, q=min(*values.shape, count + 16), center=False, niter=4)
    scale = singular[:count].square().mean().div(len(values)).sqrt()
    return mean, axes[:, :count], scale.clamp(min=1e-6)


def _set_linear(encoder: nn.Linear, decoder: nn.Linear, mean: Tensor, axes: Tensor, scale: Tensor) -> None:
    """Make a pair of layers project onto ``axes`` and back; what the encoder has beyond them becomes zero."""
    count = axes.shape[1]
    for layer in (encoder, decoder):
        layer.weight.zero_()
        layer.bias.zero_()
    encoder.weight[:count] = (axes.T / scale).to(encoder.weight)
    encoder.bias[:count] = (-(axes.T @ mean) / scale).to(encoder.bias)
    decoder.weight[:, :count] = axes * scale
    decoder.bias.copy_(mean)
