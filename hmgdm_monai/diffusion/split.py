"""Random split of every graph into a visible and a hidden half."""

from __future__ import annotations

import torch
from torch import Tensor


def split_visible(batch: Tensor, mask_ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw for each graph which entities stay visible.

    Exactly ``round(mask_ratio * n)`` of the n entities of each graph are hidden, but at least one is hidden and at
    least one visible if n > 1. A graph with a single entity keeps it visible, because nothing can be learned without a
    visible entity.

    The published code draws once over the whole batch instead, so a graph may be hidden completely.

    Args:
        batch: (N,) int64, graph index of each entity (vertices or edges), in any order.
        mask_ratio: share to hide, between 0 and 1 exclusive.
        generator: random generator on the CPU; the draw does not depend on the device of ``batch``.

    Returns:
        (N,) bool, True for visible entities; the others are the hidden half.

    Raises:
        ValueError: ``mask_ratio`` is not between 0 and 1.

    Example:
        >>> visible = split_visible(torch.tensor([0, 0, 0, 0, 0]), mask_ratio=0.6)
        >>> int(visible.sum())
        2
    """
    if not 0.0 < mask_ratio < 1.0:
        raise ValueError(f"mask_ratio must lie between 0 and 1, exclusive, got {mask_ratio}")
    if batch.numel() == 0:
        return torch.zeros(0, dtype=torch.bool, device=batch.device)
    # A random order of all entities, then a stable sort by graph: within each graph the order is random.
    shuffled = torch.randperm(batch.numel(), generator=generator).to(batch.device)
    order = shuffled[torch.argsort(batch[shuffled], stable=True)]
    count = torch.bincount(batch)
    start = torch.cumsum(count, 0) - count
    rank = torch.empty_like(batch)
    rank[order] = torch.arange(batch.numel(), device=batch.device) - start[batch[order]]
    hidden = torch.round(mask_ratio * count.double()).long()
    hidden = torch.minimum(torch.clamp(hidden, min=1), count - 1)
    return rank >= hidden[batch]
