"""Several processes that train one network: who is first, who waits, and how their means become one.

Without ``torch.distributed`` everything here is that of a single process: rank 0 of 1, nothing to wait for.
"""

from __future__ import annotations

import datetime
import logging
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hmgdm_monai.errors import InputError

# Ranks wait while the first one builds the stores of a cohort, which may take a day.
_PATIENCE = datetime.timedelta(days=7)

# Those that keep the process group, and so its threads, alive.
_parallel: weakref.WeakSet[nn.parallel.DistributedDataParallel] = weakref.WeakSet()


def num_ranks() -> int:
    """W, the number of processes that train together."""
    return dist.get_world_size() if _joined() else 1


def rank() -> int:
    """Number of this process, 0 to W - 1."""
    return dist.get_rank() if _joined() else 0


def is_first_rank() -> bool:
    """Whether this process is the one that writes, logs and draws figures."""
    return rank() == 0


def is_other_rank() -> bool:
    """Whether this process leaves writing, logging and drawing to the first one."""
    return not is_first_rank()


def join() -> None:
    """Take part in what ``torchrun`` has started: NCCL where there is a GPU for the process, Gloo otherwise.

    Raises:
        InputError: the process was not started by torchrun.
    """
    if _joined():
        return
    if "RANK" not in os.environ:
        raise InputError(
            "multi_gpu.json wants to be started by torchrun: torchrun --standalone --nproc_per_node=2 -m monai.bundle "
            "run training ...; for one process leave multi_gpu.json out"
        )
    device = device_of_rank()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    if not is_first_rank():
        logging.getLogger().setLevel(logging.WARNING)


def leave() -> None:
    """End what :func:`join` began. Networks of :func:`data_parallel` can train no more."""
    if not _joined():
        return
    dist.barrier()  # a rank that is done must not take the meeting place from one that is not
    # Otherwise Gloo's threads run on and now and then abort the process while the interpreter ends.
    for network in list(_parallel):
        parts: Any = network  # its annotations leave out that these may be None
        parts.process_group = parts.reducer = parts.logger = None
    dist.destroy_process_group()


def device_of_rank() -> torch.device:
    """The GPU that bears the number of this process on its machine; the CPU where there is none."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local) if local < torch.cuda.device_count() else torch.device("cpu")


def share_of_batch(batch_size: int) -> int:
    """Samples of each rank, of a batch of ``batch_size`` over all of them.

    Raises:
        InputError: the batch cannot be shared out evenly.
    """
    if batch_size % num_ranks():
        raise InputError(f"a batch of {batch_size} cannot be shared by {num_ranks()} processes; make it a multiple")
    return batch_size // num_ranks()


def data_parallel(network: nn.Module, some_unused: bool = False) -> nn.Module:
    """The network for the trainer, which averages gradients over ranks.

    It is for the trainer alone. Whatever else reads the network (validation, checkpoints, reports) keeps the plain one,
    whose parameters are the same tensors, so that names in checkpoints are those of one process.

    Args:
        network: on the device of this rank.
        some_unused: whether some of its parameters may take no part in a step.
    """
    if not _joined():
        return network
    device = next(network.parameters()).device
    parallel = nn.parallel.DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        forward_sync_buffers=False,  # none of them changes in training
        find_unused_parameters=some_unused,
    )
    _parallel.add(parallel)
    return parallel


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Rank 0 runs the block while all others wait; then they run it, and find its files."""
    if not _joined():
        yield
        return
    if not is_first_rank():
        dist.barrier()
    yield
    if is_first_rank():
        dist.barrier()


@torch.no_grad()
def copy_from_first(network: nn.Module) -> None:
    """Give all ranks the weights and buffers of rank 0, what was fitted on each may differ in its last bits."""
    if num_ranks() > 1:
        for value in (*network.parameters(), *network.buffers()):
            dist.broadcast(value, 0)


def mean_weight(count: int | Tensor, device: torch.device | str = "cpu") -> float:
    """What to multiply a mean over ``count`` entities of this rank by: count * W / (sum of counts over ranks).

    The average over ranks of means so weighted is the mean over all entities, and the average of their gradients, which
    is what ``DistributedDataParallel`` makes, is its gradient. 1 where ranks hold the same number. To be called by all
    ranks alike.
    """
    if num_ranks() == 1:
        return 1.0
    total = torch.tensor(float(count), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(count) * num_ranks() / max(float(total), 1.0)


def average(value: Tensor) -> Tensor:
    """Mean over ranks of a tensor, without its gradient."""
    if num_ranks() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / num_ranks()


def gather(value: Tensor) -> list[Tensor]:
    """The tensors, of one shape, of all ranks."""
    if num_ranks() == 1:
        return [value]
    found = [torch.empty_like(value) for _ in range(num_ranks())]
    dist.all_gather(found, value.contiguous())
    return found


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
