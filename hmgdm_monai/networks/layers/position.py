"""Embedding of positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PositionEmbedding(nn.Module):
    """Fourier features of positions, mixed to D channels.

    Positions come from the tile (``pos``) and not from an index, so the order of entities does not matter. In the
    published code, the position is the index in the list.

    Args:
        channels: size D of the embedding.
        frequencies: number of octaves; the finest has 2^(frequencies - 1) / 2 periods across a tile.
    """

    def __init__(self, channels: int, frequencies: int = 6) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", math.pi * 2.0 ** torch.arange(frequencies), persistent=False)
        self.mix = nn.Linear(4 * frequencies, channels)

    def forward(self, pos: Tensor) -> Tensor:
        """Embed pos (N, 2), x and y in [0, 1], as (N, D)."""
        angles = (pos.unsqueeze(-1) * self.scale).flatten(1)  # (N, 2 * frequencies)
        return self.mix(torch.cat((angles.sin(), angles.cos()), dim=-1))
