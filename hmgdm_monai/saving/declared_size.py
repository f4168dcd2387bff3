"""Check how large a network is before it is built: a small file must not request gigabytes of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

FREE_BYTES = 64 * 2**20  # allowed beyond the weights, for tables that are computed and not stored
FREE_TENSORS = 1000  # allowed beyond the weights, for layers that are built and then replaced


def check_declared_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Build a network without allocating memory, and compare its size with the weights in the file.

    Args:
        build: builds the network; called on the meta device.
        weights: weights in the file that the settings come from.

    Raises:
        ValueError: the settings declare a network that is much larger than the weights, or has many more of them.
    """
    with torch.device("meta"), _at_most(2 * len(weights) + FREE_TENSORS):
        network = build()
    declared = sum(one.numel() * one.element_size() for one in (*network.parameters(), *network.buffers()))
    held = sum(one.numel() * one.element_size() for one in weights.values())
    if declared > 2 * held + FREE_BYTES:
        raise ValueError(f"its settings declare {declared / 1e6:.4g} MB of weights, it holds {held / 1e6:.4g}")


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Raise a ValueError if more parameters are made: with a billion layers the block would not end."""
    made = 0

    def add(*_: object) -> None:
        nonlocal made
        made += 1
        if made > count:
            raise ValueError(f"its settings declare more than {count} weights")

    hook = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()
