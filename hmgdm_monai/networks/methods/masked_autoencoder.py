"""Masked autoencoders of images: hidden patches are restored from visible ones, optionally from noisy patches too."""

from __future__ import annotations

from typing import NamedTuple

import torch
from monai.networks.blocks import TransformerBlock
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from torch import Tensor, nn
from torch_geometric.data import Data

from diffusers.models.embeddings import TimestepEmbedding, Timesteps  # isort: skip
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.networks.encoders.tile_vit import PIXEL_MEAN, PIXEL_STD, TileViT
from hmgdm_monai.networks.encoders.vit_tile_encoder import pixels, read_out


class MaskedPatches(NamedTuple):
    """Restored and true values of the M hidden patches (P = 3 p^2 numbers each).

    Attributes:
        prediction: (B, M, P).
        target: (B, M, P).
    """

    prediction: Tensor
    target: Tensor


class MaskedAutoencoder(nn.Module):
    """MAE (He et al., CVPR 2022) or, with noise, DiffMAE (Wei et al., ICCV 2023).

    The encoder sees only the visible patches. The decoder gets the encoder's tokens and, for each hidden patch, its
    position and a learned token (MAE), or its noisy pixels and the timestep (DiffMAE), and predicts the hidden patches.
    The clean pixels of hidden patches are an input of neither.

    Difference from DiffMAE: the decoder attends jointly to all tokens. This is a variant in that paper, not its
    default; with it both methods share their decoder. Decoder sizes and mask ratio are ours.

    Args:
        vit: the encoder.
        decoder_dim: size of the decoder states, a multiple of 4 and of ``decoder_heads``.
        decoder_layers: number of transformer blocks of the decoder.
        decoder_heads: number of attention heads of the decoder.
        mask_ratio: share of the patches to hide; at least one is hidden and one visible.
        patch_norm: whether targets are the pixels of each patch minus their mean, divided by their standard deviation;
            otherwise pixels on the encoder's scale.
        noisy: whether the decoder gets noisy hidden patches; :meth:`forward` then needs the forward process.
        num_regions: number R of regions in the monitored region maps.
        readout: readout of :meth:`embed`: "mean", "cls" or "both".

    Raises:
        ValueError: ``mask_ratio`` is not between 0 and 1, or sizes do not divide.
    """

    def __init__(
        self,
        vit: TileViT,
        decoder_dim: int = 96,
        decoder_layers: int = 2,
        decoder_heads: int = 4,
        mask_ratio: float = 0.75,
        patch_norm: bool = True,
        noisy: bool = False,
        num_regions: int = 3,
        readout: str = "both",
    ) -> None:
        super().__init__()
        if not 0.0 < mask_ratio < 1.0:
            raise ValueError(f"mask_ratio must lie between 0 and 1, exclusive, got {mask_ratio}")
        if decoder_dim % 4 or decoder_dim % decoder_heads:
            raise ValueError(f"4 and {decoder_heads} heads must divide decoder_dim {decoder_dim}")
        self.mask_ratio, self.patch_norm, self.noisy = mask_ratio, patch_norm, noisy
        self.num_regions, self.readout = num_regions, readout
        self.vit = vit
        patch = 3 * vit.patch_px**2
        self.enter = nn.Linear(vit.hidden_dim, decoder_dim)
        self.hidden_token = nn.Parameter(0.02 * torch.randn(decoder_dim))
        positions = build_sincos_position_embedding([vit.grid, vit.grid], decoder_dim, spatial_dims=2)
        self.positions: Tensor
        self.register_buffer("positions", positions.detach().clone(), persistent=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(decoder_dim, 4 * decoder_dim, decoder_heads, qkv_bias=True, use_flash_attention=True)
            for _ in range(decoder_layers)
        )
        for block in self.blocks:
            block.norm_cross_attn = nn.Identity()  # its weights are not used
        self.leave = nn.Sequential(nn.LayerNorm(decoder_dim), nn.Linear(decoder_dim, patch))
        # Created last, so that all other weights start equal with and without noise.
        self.noisy_in = nn.Linear(patch, decoder_dim) if noisy else None
        self.timesteps = Timesteps(decoder_dim, flip_sin_to_cos=True, downscale_freq_shift=0) if noisy else None
        self.time = TimestepEmbedding(decoder_dim, decoder_dim) if noisy else None

    @property
    def encoder(self) -> TileViT:
        """The network for downstream tasks."""
        return self.vit

    def split(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw visible patches (B, K) and hidden patches (B, M), int64, for each of ``count`` images.

        Args:
            count: number of images B.
            generator: random generator on the CPU.
        """
        total = self.vit.grid**2
        hidden = min(max(round(self.mask_ratio * total), 1), total - 1)
        order = torch.rand(count, total, generator=generator).argsort(1)
        return order[:, hidden:].sort(1).values, order[:, :hidden].sort(1).values

    def forward(self, images: Tensor, generator: torch.Generator, noising: Noising | None = None) -> MaskedPatches:
        """Hide patches of images (B, 3, s, s) in [0, 1] and restore them; s is the encoder's training size.

        Args:
            images: views of tiles.
            generator: random generator of the split, the timesteps and the noise, on the CPU.
            noising: forward process, with one timestep for each image; None for a decoder without noise.

        Raises:
            ValueError: the images have another size, or ``noising`` does not match the setting ``noisy``.
        """
        if images.shape[-1] != self.vit.grid * self.vit.patch_px or images.shape[-2] != images.shape[-1]:
            raise ValueError(f"images must be of {self.vit.grid * self.vit.patch_px} px, not {tuple(images.shape[2:])}")
        if (noising is not None) != self.noisy:
            raise ValueError(f"this network was built {'with' if self.noisy else 'without'} noise")
        seen, hidden = (places.to(images.device) for places in self.split(len(images), generator))
        target = _rows(self._targets(images), hidden)
        noisy = timesteps = None
        if noising is not None:
            timesteps = noising.draw_timesteps(len(images), generator).to(images.device)
            noise = torch.randn(target.shape, generator=generator).to(target)
            noisy, target = noising.add_noise(target, noise, timesteps), noising.target(target, noise, timesteps)
        class_token, tokens = self.vit(images, seen)
        return MaskedPatches(self.restore(class_token, tokens, seen, hidden, noisy, timesteps), target)

    def restore(
        self,
        class_token: Tensor,
        tokens: Tensor,
        seen: Tensor,
        hidden: Tensor,
        noisy: Tensor | None = None,
        timesteps: Tensor | None = None,
    ) -> Tensor:
        """Predict hidden patches (B, M, P) from the encoder's class token (B, D) and tokens (B, K, D).

        Args:
            class_token: class token of the encoder.
            tokens: tokens of the visible patches.
            seen: (B, K) indices of the visible patches.
            hidden: (B, M) indices of the hidden patches.
            noisy: (B, M, P) noisy hidden patches; None for a decoder without noise.
            timesteps: (B,) int64; None for a decoder without noise.

        Raises:
            ValueError: the decoder needs noisy patches or timesteps, which are missing.
        """
        positions = self.positions.expand(len(tokens), -1, -1)
        known = self.enter(torch.cat((class_token.unsqueeze(1), tokens), 1))
        known = torch.cat((known[:, :1], known[:, 1:] + _rows(positions, seen)), 1)
        queries = self.hidden_token + _rows(positions, hidden)
        if self.noisy_in is not None and self.time is not None and self.timesteps is not None:
            if noisy is None or timesteps is None:
                raise ValueError("this network needs noisy patches, but got none")
            queries = queries + self.noisy_in(noisy) + self.time(self.timesteps(timesteps).to(known)).unsqueeze(1)
        states = torch.cat((known, queries.to(known)), 1)
        for block in self.blocks:
            states = block(states)
        return self.leave(states[:, -hidden.shape[1] :])

    def embed(self, samples: Data) -> Tensor:
        """Compute the embeddings (B, S) of whole tiles, without hiding patches."""
        class_token, tokens = self.vit(pixels(samples))
        return read_out(class_token, tokens, self.readout)

    def _targets(self, images: Tensor) -> Tensor:
        """Targets of all patches, (B, N, P)."""
        patches = patchify(images, self.vit.patch_px)
        if not self.patch_norm:
            return (patches - PIXEL_MEAN) / PIXEL_STD
        variance = patches.var(-1, keepdim=True, correction=0)
        return (patches - patches.mean(-1, keepdim=True)) / (variance + 1e-6).sqrt()


def patchify(images: Tensor, patch_px: int) -> Tensor:
    """Images (B, C, H, W) to patches (B, N, C p^2), row by row.

    Args:
        images: (B, C, H, W).
        patch_px: side p of a patch in px; divides H and W.
    """
    count, channels, height, width = images.shape
    rows, columns = height // patch_px, width // patch_px
    cut = images.reshape(count, channels, rows, patch_px, columns, patch_px)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * columns, channels * patch_px**2)


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Rows (B, M, P) at places (B, M) of values (B, N, P)."""
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
