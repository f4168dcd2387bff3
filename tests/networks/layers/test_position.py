"""Fourier features of positions."""

from __future__ import annotations

import math

import torch

from hmgdm_monai.networks.layers.position import PositionEmbedding


def test_equals_the_formula() -> None:
    embed, pos = PositionEmbedding(8, frequencies=3).double(), torch.rand(6, 2, dtype=torch.float64)
    rows = []
    for x, y in pos.tolist():
        angles = [math.pi * 2**k * coordinate for coordinate in (x, y) for k in range(3)]
        rows.append([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    expected = embed.mix(torch.tensor(rows, dtype=torch.float64))
    torch.testing.assert_close(embed(pos), expected, rtol=0, atol=1e-5)  # the layer keeps pi in single precision


def test_no_two_corners_alike() -> None:
    """The lowest frequency has half a period across the tile: opposite borders differ."""
    corners = PositionEmbedding(8)(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    assert torch.pdist(corners).min() > 1e-2
