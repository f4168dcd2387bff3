"""Check how large a network is before it is built: a small file must not request gigabytes of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

FREE_BYTES = 64 * 2**20  # allowed beyond the weights, for tables that are computed and not stored


def check_declared_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Build a network without allocating memory, and compare its size with the weights in the file.

    Args:
        build: builds the network; called on the meta device.
        weights: weights in the file that the settings come from.

    Raises:
        ValueError: the settings declare a network that is much larger than the weights.
    """
    with torch.device("meta"):
        network = build()
    declared = sum(one.numel() * one.element_size() for one in (*network.parameters(), *network.buffers()))
    held = sum(one.numel() * one.element_size() for one in weights.values())
    if declared > 2 * held + FREE_BYTES:
        raise ValueError(f"its settings declare {declared / 1e6:.4g} MB of weights, it holds {held / 1e6:.4g}")
