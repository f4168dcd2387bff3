"""Several processes (ranks) that train one network: first rank, waiting, and averages over ranks.

Without ``torch.distributed``, everything here works as in a single process: rank 0 of 1, and no waiting.
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

# The other ranks wait while the first rank builds the stores of a cohort, which may take a day.
_PATIENCE = datetime.timedelta(days=7)

# These networks keep the process group and its threads alive.
_parallel: weakref.WeakSet[nn.parallel.DistributedDataParallel] = weakref.WeakSet()


def num_ranks() -> int:
    """Return W, the number of processes that train together."""
    return dist.get_world_size() if _joined() else 1


def rank() -> int:
    """Return the number of this process, 0 to W - 1."""
    return dist.get_rank() if _joined() else 0


def is_first_rank() -> bool:
    """Return whether this process writes files, logs and draws figures."""
    return rank() == 0


def is_other_rank() -> bool:
    """Return whether this process leaves writing, logging and drawing to the first rank."""
    return not is_first_rank()


def join() -> None:
    """Join the process group that ``torchrun`` has started.

    The backend is NCCL if the process has a GPU, and Gloo otherwise.

    Raises:
        InputError: the process was not started by torchrun.
    """
    if _joined():
        return
    if "RANK" not in os.environ:
        raise InputError(
            "multi_gpu.json must be started by torchrun: torchrun --standalone --nproc_per_node=2 -m monai.bundle "
            "run training ...; for a single process, leave out multi_gpu.json"
        )
    device = device_of_rank()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    if not is_first_rank():
        logging.getLogger().setLevel(logging.WARNING)


def leave() -> None:
    """Leave the process group of :func:`join`. Networks of :func:`data_parallel` cannot be trained after that."""
    if not _joined():
        return
    dist.barrier()  # rank 0 hosts the store of the process group, so it must not end before the others
    # Otherwise Gloo's threads keep running and sometimes abort the process when the interpreter exits.
    for network in list(_parallel):
        parts: Any = network  # the type annotations do not allow None here
        parts.process_group = parts.reducer = parts.logger = None
    dist.destroy_process_group()


def device_of_rank() -> torch.device:
    """Return the GPU with the local number of this process; the CPU if there is no such GPU."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local) if local < torch.cuda.device_count() else torch.device("cpu")


def share_of_batch(batch_size: int) -> int:
    """Return the number of samples per rank for a batch of ``batch_size`` over all ranks.

    Args:
        batch_size: number of samples over all ranks.

    Raises:
        InputError: the batch size is not a multiple of the number of ranks.
    """
    if batch_size % num_ranks():
        raise InputError(
            f"a batch of {batch_size} cannot be shared by {num_ranks()} processes; set batch_size to a multiple of "
            f"{num_ranks()}"
        )
    return batch_size // num_ranks()


def data_parallel(network: nn.Module, some_unused: bool = False) -> nn.Module:
    """Wrap the network for the trainer, so that gradients are averaged over ranks.

    Only the trainer uses the wrapped network. Validation, checkpoints and reports use the plain network. Both share
    their parameter tensors, so the names in checkpoints are the same as in a single process.

    Args:
        network: network on the device of this rank.
        some_unused: whether a step may leave some parameters unused.
    """
    if not _joined():
        return network
    device = next(network.parameters()).device
    parallel = nn.parallel.DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        forward_sync_buffers=False,  # no buffer changes in training
        find_unused_parameters=some_unused,
    )
    _parallel.add(parallel)
    return parallel


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Run the block on rank 0 while the other ranks wait; then they run it and find the files of rank 0."""
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
    """Copy weights and buffers of rank 0 to all ranks; values that each rank has fitted may differ in the last bits."""
    if num_ranks() > 1:
        for value in (*network.parameters(), *network.buffers()):
            dist.broadcast(value, 0)


def mean_weight(count: int | Tensor, device: torch.device | str = "cpu") -> float:
    """Return the factor for a mean over ``count`` entities of this rank: count * W / (sum of counts over ranks).

    With these factors, the average over ranks is the mean over all entities. ``DistributedDataParallel`` averages
    gradients in the same way, so the average of the gradients is the gradient of that mean. The factor is 1 if all
    ranks hold the same number. All ranks must call this function.

    Args:
        count: number of entities of this rank.
        device: device for the communication.
    """
    if num_ranks() == 1:
        return 1.0
    total = torch.tensor(float(count), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(count) * num_ranks() / max(float(total), 1.0)


def average(value: Tensor) -> Tensor:
    """Return the mean of a tensor over ranks, without gradient."""
    if num_ranks() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / num_ranks()


def gather(value: Tensor) -> list[Tensor]:
    """Return the tensors of all ranks; all must have the same shape."""
    if num_ranks() == 1:
        return [value]
    found = [torch.empty_like(value) for _ in range(num_ranks())]
    dist.all_gather(found, value.contiguous())
    return found


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
