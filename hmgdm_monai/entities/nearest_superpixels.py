"""Show latents as images: the real superpixels of training tiles with the nearest latents."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError

_AT_ONCE = 256


class NearestSuperpixels:
    """An index of superpixels: their latents, and windows of the tiles around them.

    Latents of a backbone have no decoder. The window of the nearest real superpixel shows which tissue a restored
    latent represents; it is an image of another place, not a reconstruction.

    Args:
        latents: (N, D), from an entity encoder.
        windows: (N, 3, w, w) uint8, around the centroids of the same superpixels.

    Raises:
        InputError: there are no superpixels, or the numbers of latents and windows differ.
    """

    def __init__(self, latents: Tensor, windows: Tensor) -> None:
        if len(latents) == 0 or len(latents) != len(windows):
            counts = f"{len(windows)} and {len(latents)}"
            raise InputError(f"an index of superpixels needs as many windows as latents, got {counts}")
        self.latents, self.windows_uint8 = latents.float(), windows
        self._mean = self.latents.mean(0)
        self._std = self.latents.std(0, correction=0).clamp(min=1e-6)
        self._scaled = (self.latents - self._mean) / self._std

    def nearest(self, latents: Tensor) -> Tensor:
        """Indices (M,) of the superpixels nearest to latents (M, D): Euclidean distance of standardized channels."""
        scaled = (latents.float() - self._mean) / self._std
        return torch.cat([torch.cdist(some, self._scaled).argmin(1) for some in scaled.split(_AT_ONCE)])

    def windows(self, latents: Tensor) -> Tensor:
        """Windows (M, 3, w, w) in [0, 1] of the superpixels nearest to latents (M, D)."""
        return self.windows_uint8[self.nearest(latents)].float() / 255.0

    def save(self, path: Path | str) -> None:
        """Write the index, completely or not at all."""
        write_checkpoint(path, {"latents": self.latents.half(), "windows": self.windows_uint8})

    @classmethod
    def load(cls, path: Path | str) -> NearestSuperpixels:
        """Read an index.

        Raises:
            InputError: the file does not exist or is of another kind.
        """
        saved = read_checkpoint(path)
        if not isinstance(saved, dict) or saved.keys() != {"latents", "windows"}:
            raise InputError(f"{path}: holds no index of superpixels; give superpixels.pt of a pretraining run")
        return cls(saved["latents"], saved["windows"])
