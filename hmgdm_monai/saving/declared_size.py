"""How large a network its settings declare, known before it is built: a small file must not ask for gigabytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

FREE_BYTES = 64 * 2**20  # beyond its weights: tables that are computed, not stored


def check_declared_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Build a network without memory, and compare it with the weights that it is to take.

    Args:
        build: makes the network; called on the meta device.
        weights: of the file that the settings come from.

    Raises:
        ValueError: the settings declare a far larger network than the weights are for.
    """
    with torch.device("meta"):
        network = build()
    declared = sum(one.numel() * one.element_size() for one in (*network.parameters(), *network.buffers()))
    held = sum(one.numel() * one.element_size() for one in weights.values())
    if declared > 2 * held + FREE_BYTES:
        raise ValueError(f"its settings declare {declared / 1e6:.4g} MB of weights, it holds {held / 1e6:.4g}")
