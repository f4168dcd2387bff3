"""Losses on a joint batch, or on one process's share of it: ``python distributed_cases.py RANK PROCESSES FILE OUT``.

Features are linear in a weight, as behind a network; a step gives loss, the weight's gradient and the center.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hmgdm_monai.losses.dense_matching import NEGATIVES, DenseContrastiveLoss, DenseDINOLoss
from hmgdm_monai.losses.dino import DINOLoss
from hmgdm_monai.losses.info_nce import GlobalContrastiveLoss

B, R, D = 6, 3, 5

# Validity of the joint batch by name: as it comes; none in the second half, which is the second process; none at all.
VALIDITY = ("mixed", "one_sided", "none")


def inputs(validity: str) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(11)
    parts = {name: torch.randn(B, R, D, generator=draw, dtype=torch.float64) for name in ("x1", "x2", "t1", "t2")}
    for name in ("v1", "v2"):
        parts[name] = torch.rand(B, R, generator=draw) < (0.0 if validity == "none" else 0.7)
        if validity == "one_sided":
            parts[name][B // 2 :] = False
    return parts


def cases() -> dict[str, tuple[nn.Module, str]]:
    found: dict[str, tuple[nn.Module, str]] = {
        "dino": (DINOLoss(D), "mixed"),
        "global": (GlobalContrastiveLoss(), "mixed"),
    }
    for validity in VALIDITY:
        found[f"dense_dino_{validity}"] = (DenseDINOLoss(D), validity)
        for negatives in NEGATIVES:
            found[f"dense_{negatives}_{validity}"] = (DenseContrastiveLoss(0.2, negatives), validity)
    return found


def step(loss: nn.Module, validity: str, rank: int = 0, processes: int = 1) -> dict[str, Tensor]:
    loss.double()
    part = {name: x.chunk(processes)[rank] for name, x in inputs(validity).items()}
    weight = torch.eye(D, dtype=torch.float64).add(0.1).requires_grad_()
    one, two = part["x1"] @ weight, part["x2"] @ weight
    center = []
    value = torch.zeros((), dtype=torch.float64)
    for _ in range(2):  # the second time with a moved center
        if isinstance(loss, DenseDINOLoss):
            value = value + loss(one, two, part["t1"], part["t2"], part["v1"], part["v2"])
        elif isinstance(loss, DINOLoss):
            value = value + loss(one[:, 0], two[:, 0], part["t1"][:, 0], part["t2"][:, 0])
        elif isinstance(loss, DenseContrastiveLoss):
            value = value + loss(one, two, part["v1"], part["v2"])
        else:
            value = value + loss(one[:, 0], two[:, 0])
        center.append(loss.center.clone() if isinstance(loss, DINOLoss) else torch.zeros(0))
    value.backward()
    return {"loss": value.detach(), "gradient": weight.grad, "center": torch.stack(center)}


def main(rank: int, processes: int, meeting: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    results = {}
    for name, (loss, validity) in cases().items():
        results[name] = step(loss, validity, rank, processes)
        for key in ("loss", "gradient"):  # as DistributedDataParallel averages gradients
            dist.all_reduce(results[name][key])
            results[name][key] /= processes
    torch.save(results, f"{out}.{rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
