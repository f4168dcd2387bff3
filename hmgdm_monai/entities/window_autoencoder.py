"""The paper's entity encoder (E_P, D_P): a KL autoencoder of the windows around vertices and edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.backbones.backbone import weights_digest
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_windows import graph_windows

_WINDOWS_AT_ONCE = 1024


class WindowAutoencoderOutput(NamedTuple):
    """Reconstruction (N, 3, w, w); KL, summed over latent channels, averaged over windows; mean latents (N, D)."""

    reconstruction: Tensor
    kl: Tensor
    latents: Tensor


class WindowAutoencoder(EntityEncoder):
    """diffusers' ``AutoencoderKL`` on windows of the tile: one around each vertex, one at the midpoint of each edge.

    Stage 1 trains it (train_entities.json); then it is frozen. The latent is the flattened mean of the posterior.

    Args:
        window_px: side w of a window in px.
        widths: channels of the blocks; each block after the first halves the side.
        latent_channels: channels of the latent image, whose side is that after the last block.
        edge_latents: whether edges get windows and latents too.

    Raises:
        InputError: w cannot be halved that often, or a width is not a multiple of 8.
    """

    kind = "window_autoencoder"

    def __init__(
        self,
        window_px: int = 32,
        widths: Sequence[int] = (32, 64, 128),
        latent_channels: int = 4,
        edge_latents: bool = True,
    ) -> None:
        super().__init__()
        shrink = 2 ** max(0, len(widths) - 1)
        if not widths or any(width < 8 or width % 8 for width in widths):
            raise InputError(f"widths must be multiples of 8 (groups of the normalization), got {tuple(widths)}")
        if window_px < shrink or window_px % shrink:
            raise InputError(f"window_px must be a multiple of {shrink} with {len(widths)} widths, got {window_px}")
        if latent_channels < 1:
            raise InputError(f"latent_channels must be at least 1, got {latent_channels}")
        self.window_px, self.widths, self.edge_latents = window_px, tuple(widths), edge_latents
        self.latent_shape = (latent_channels, window_px // shrink, window_px // shrink)
        self.network = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=self.widths,
            layers_per_block=1,
            latent_channels=latent_channels,
            norm_num_groups=8,
            mid_block_add_attention=False,
        )

    @property
    def latent_dim(self) -> int:
        """Size D of a latent: number of values of the latent image."""
        return self.latent_shape[0] * self.latent_shape[1] * self.latent_shape[2]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The constructor arguments, as JSON values."""
        return {
            "window_px": self.window_px,
            "widths": list(self.widths),
            "latent_channels": self.latent_shape[0],
            "edge_latents": self.edge_latents,
        }

    def digest(self) -> str:
        """SHA-256 of the weights, and the settings that do not change them."""
        return f"{weights_digest(self)}-{self.window_px}-{int(self.edge_latents)}"

    def forward(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        """See the base class."""
        vertex_windows, edge_windows = graph_windows(graph, self.window_px, self.edge_latents)
        vertices = self.encode(vertex_windows.to(graph.pos.device))
        return vertices, None if edge_windows is None else self.encode(edge_windows.to(graph.pos.device))

    def encode(self, windows: Tensor) -> Tensor:
        """Compute latents (N, D) of windows (N, 3, w, w) uint8: the posterior's mean, without noise.

        Raises:
            ValueError: the windows have another size.
        """
        if windows.shape[-3:] != (3, self.window_px, self.window_px):
            raise ValueError(
                f"expected windows of (3, {self.window_px}, {self.window_px}), got {tuple(windows.shape[1:])}"
            )
        parts = [self.network.encode(_as_input(some)).latent_dist.mean for some in windows.split(_WINDOWS_AT_ONCE)]
        return torch.cat(parts).flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """Compute windows (N, 3, w, w) in [0, 1] from latents (N, D)."""
        return (0.5 + 0.5 * self.network.decode(latents.unflatten(1, self.latent_shape)).sample).clamp(0.0, 1.0)

    def reconstruct(
        self, windows: Tensor, generator: torch.Generator | None = None, among: Tensor | None = None
    ) -> WindowAutoencoderOutput:
        """Encode, sample the posterior (only in training) and decode, as input of the loss.

        Args:
            windows: (N, 3, w, w) uint8.
            generator: random generator of the posterior's noise, on the CPU.
            among: (M,) bool, True for the N of M windows on this rank if ranks share a draw. Noise is then drawn for
                all M, so that each window gets the same noise on any rank. None for a single process.
        """
        posterior = self.network.encode(_as_input(windows)).latent_dist
        mean, latents = posterior.mean, posterior.mean
        if self.training:
            count = len(mean) if among is None else len(among)
            noise = torch.randn(count, *self.latent_shape, generator=generator).to(mean)
            latents = mean + posterior.std * (noise if among is None else noise[among])
        kl = posterior.kl().mean()
        # Not clamped as in decode: a clamped pixel has no gradient.
        reconstruction = 0.5 + 0.5 * self.network.decode(latents).sample
        return WindowAutoencoderOutput(reconstruction, kl, mean.flatten(1))


def _as_input(windows: Tensor) -> Tensor:
    """Windows (N, 3, w, w) uint8 to [-1, 1]."""
    return windows.float() / 127.5 - 1.0
