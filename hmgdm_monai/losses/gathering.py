"""Communication of losses between several processes, whose batches of equal size form one joint batch.

In all losses of this package, the mean over processes of the loss is the loss of the joint batch. The same holds for
the gradients, which DistributedDataParallel averages. With a single process, these functions do nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hmgdm_monai.ranks import num_ranks, rank


def total(x: Tensor) -> Tensor:
    """Sum of a tensor over all processes, without gradient."""
    x = x.detach()
    if num_ranks() > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def gather_with_gradients(x: Tensor) -> Tensor:
    """Concatenate tensors (B, ...) of all processes to (W B, ...), in the order of ranks; B must be equal in all.

    Each process's part receives the summed gradients of the losses of all processes. So every process must use the
    result in its loss, even with weight 0, otherwise the others wait for it in the backward pass.
    """
    return _Gather.apply(x) if num_ranks() > 1 else x


class _Gather(torch.autograd.Function):
    # The backward of torch.distributed.nn.functional.all_gather is all_to_all, which not all backends support.
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
