"""What losses need of several processes: whose batches make up one joint batch, of which each holds an equal share.

The convention of all losses here: the mean of their values over processes is the value on the joint batch. So is the
mean of the gradients, which is what DistributedDataParallel takes. With one process the functions do nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hmgdm_monai.ranks import num_ranks, rank


def total(x: Tensor) -> Tensor:
    """Sum of a tensor over processes, without gradient."""
    x = x.detach()
    if num_ranks() > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def gather_with_gradients(x: Tensor) -> Tensor:
    """Tensors (B, ...) of all processes as (W B, ...), in the order of ranks; B is the same in each.

    Gradients flow back into each process's own part from the losses of all: they are summed. So every process must use
    the result in its loss, whatever its share, or the others wait for it in the backward pass.
    """
    return _Gather.apply(x) if num_ranks() > 1 else x


class _Gather(torch.autograd.Function):
    # torch.distributed.nn.functional.all_gather goes back by all_to_all, which not every backend has.
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(num_ranks())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(num_ranks())[rank()]
