"""Heads between a representation and a self-supervised loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Sequential):
    """Two linear layers, as in SimCLR: (..., D) -> (..., P).

    Args:
        in_channels: input size D.
        hidden: size of the hidden layer.
        out_channels: output size P.
    """

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__(nn.Linear(in_channels, hidden), nn.GELU(), nn.Linear(hidden, out_channels))


class PrototypeHead(nn.Module):
    """Logits of prototypes, as in DINO's head: (..., D) -> (..., K), each the cosine to a prototype.

    Difference from DINO: prototypes are normalized at each use. DINO splits their weights into direction and length
    and fixes the length, which gives the same function.

    Args:
        in_channels: input size D.
        hidden: size of the layer before the bottleneck.
        bottleneck: size of the vectors whose cosine is computed.
        num_prototypes: number of prototypes K.
    """

    def __init__(self, in_channels: int, hidden: int, bottleneck: int, num_prototypes: int) -> None:
        super().__init__()
        self.project = ProjectionHead(in_channels, hidden, bottleneck)
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, bottleneck))

    def forward(self, states: Tensor) -> Tensor:
        """Compute the logits (..., K) in [-1, 1]."""
        return F.linear(F.normalize(self.project(states), dim=-1), F.normalize(self.prototypes, dim=-1))
