"""Ranks without torch.distributed: there is one; and the arithmetic of several."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hmgdm_monai import ranks
from hmgdm_monai.errors import InputError


def test_alone_there_is_nothing_to_share() -> None:
    network = nn.Linear(2, 2)
    assert (ranks.num_ranks(), ranks.rank(), ranks.is_first_rank()) == (1, 0, True)
    assert ranks.data_parallel(network) is network
    assert ranks.mean_weight(0) == 1.0
    value = torch.tensor(3.0, requires_grad=True)
    assert ranks.average(value) is value
    with ranks.first_rank_first():
        ranks.copy_from_first(network)
    ranks.leave()


def test_a_batch_is_shared_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "num_ranks", lambda: 3)
    assert ranks.share_of_batch(12) == 4
    with pytest.raises(InputError, match="a batch of 16 cannot be shared by 3 processes"):
        ranks.share_of_batch(16)


def test_weighted_means_average_to_the_mean_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As DistributedDataParallel averages: ranks of 1, 5 and 0 entities."""
    parts = [torch.rand(count, generator=torch.Generator().manual_seed(count)) for count in (1, 5, 0)]
    monkeypatch.setattr(ranks, "num_ranks", lambda: 3)
    monkeypatch.setattr(ranks.dist, "all_reduce", lambda total: total.fill_(6.0))
    means = [part.sum() / max(1, len(part)) * ranks.mean_weight(len(part)) for part in parts]
    assert torch.stack(means).mean() == pytest.approx(float(torch.cat(parts).mean()))


# Gradient of one batch of four graphs: argument 1 is where rank 0 writes it. Threads that outlive the group are told.
STEP = """
import glob
import sys
import time
from pathlib import Path
import torch
from diffusers import DDPMScheduler
from torch_geometric.data import Batch
from hmgdm_monai import ranks
from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.losses.masked_graph import MaskedGraphLoss
from hmgdm_monai.networks.methods.build import build_hmgdm

def graph(number):
    draw, size = torch.Generator().manual_seed(number), 4 + 3 * number
    first = torch.arange(size)
    return EntityGraph(
        pos=torch.rand(size, 2, generator=draw),
        edge_index=torch.stack((first, (first + 1) % size)),
        vertex_latents=torch.randn(size, 4, generator=draw),
        edge_latents=torch.randn(size, 4, generator=draw),
    )

ranks.join()
torch.manual_seed(0)
plain = build_hmgdm(4, hidden_dim=8, num_layers=2, heads=2, bottleneck=True).train()
network = ranks.data_parallel(plain, some_unused=True)
batch = Batch.from_data_list([graph(n) for n in range(ranks.rank(), 4, ranks.num_ranks())])
noising = Noising(DDPMScheduler(clip_sample=False, prediction_type="sample"))
torch.manual_seed(1)
draws = BatchDraws(batch, torch.Generator().manual_seed(1), shared=True)
loss = MaskedGraphLoss(0.5)(*network(batch, noising, draws))
loss.backward()
found = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
told = ranks.average(loss.detach())
if ranks.is_first_rank():
    torch.save({**found, "loss": told}, sys.argv[1])
ranks.leave()
time.sleep(0.3)
names = [Path(thread).read_text() for thread in glob.glob("/proc/self/task/*/comm")]
sys.exit(f"threads left: {names}" if any("gloo" in name for name in names) else 0)
"""


def test_two_processes_make_the_gradient_of_one(tmp_path: Path) -> None:
    """Graphs of different sizes, so that each rank has other numbers of hidden entities."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcomes = []
    for count in (1, 2):
        processes = []
        for number in range(count):
            env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1"}
            env |= {"MASTER_PORT": str(port), "RANK": str(number), "WORLD_SIZE": str(count)}
            env["PYTHONPATH"] = str(Path(ranks.__file__).parents[1])
            processes.append(subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path / f"{count}.pt")], env=env))
        assert [process.wait(120) for process in processes] == [0] * count
        outcomes.append(torch.load(tmp_path / f"{count}.pt", weights_only=True))
    one, two = outcomes
    assert one.keys() == two.keys() and one["encoder.vertex_moments.weight"].abs().max() > 1e-3
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-6), name
