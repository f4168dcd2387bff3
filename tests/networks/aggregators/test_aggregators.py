"""Aggregators: no bag sees another, order means nothing, tiles sum up to the bag, and cost grows with tiles."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_geometric.data import Batch, Data

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.aggregators.build import AGGREGATORS, build_aggregator


def bag(tiles: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, tiles, (2, 4 * tiles), generator=generator)
    lengths = torch.rand(4 * tiles, generator=generator) * 9
    return Data(x=torch.randn(tiles, 6, generator=generator), edge_index=edges, edge_length=lengths)


@pytest.fixture(params=sorted(AGGREGATORS))
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    found = build_aggregator(request.param, 6, 2).eval()
    found.standardizer.fit(torch.randn(100, 6) * 3 + 1)
    return found


def test_a_bag_gives_the_same_alone_and_beside_others_of_any_size(network: torch.nn.Module) -> None:
    bags = [bag(tiles, seed) for seed, tiles in enumerate((3, 17, 1, 8))]
    together = network(Batch.from_data_list(bags))
    alone = torch.cat([network(Batch.from_data_list([one])) for one in bags])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        network(Batch.from_data_list([bags[n] for n in order])), together[order], rtol=1e-4, atol=1e-5
    )


def test_the_order_of_tiles_means_nothing(network: torch.nn.Module) -> None:
    one = bag(12, 5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    shuffled = Data(x=one.x[order], edge_index=torch.argsort(order)[one.edge_index], edge_length=one.edge_length)
    before, after = Batch.from_data_list([one]), Batch.from_data_list([shuffled])
    torch.testing.assert_close(network(after), network(before), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.attention(after), network.attention(before)[order], rtol=1e-4, atol=1e-6)


def test_attention_sums_to_one_and_weighs_the_outputs_of_tiles(network: torch.nn.Module) -> None:
    batch = Batch.from_data_list([bag(5, 0), bag(9, 1)])
    attention, outputs = network.attention(batch), network.tile_outputs(batch)
    sums = torch.zeros(2).index_add(0, batch.batch, attention)
    torch.testing.assert_close(sums, torch.ones(2))
    by_output = network.output_attention(batch)
    torch.testing.assert_close(by_output.mean(1), attention)
    torch.testing.assert_close(torch.zeros(2, 2).index_add(0, batch.batch, by_output), torch.ones(2, 2))
    weighted = torch.zeros(2, 2).index_add(0, batch.batch, by_output * outputs)
    torch.testing.assert_close(weighted, network(batch), rtol=1e-4, atol=1e-5)


def test_all_parameters_learn(network: torch.nn.Module) -> None:
    network(Batch.from_data_list([bag(20, 0), bag(9, 1)])).square().sum().backward()
    still = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not still


def test_a_bag_of_one_tile_gives_the_output_of_the_tile(network: torch.nn.Module) -> None:
    empty = torch.zeros(2, 0, dtype=torch.int64)
    one = Batch.from_data_list([Data(x=torch.randn(1, 6), edge_index=empty, edge_length=torch.zeros(0))])
    torch.testing.assert_close(network.tile_outputs(one), network(one))
    assert network.attention(one).tolist() == [1.0]


def test_tiles_of_bags_may_be_interleaved(network: torch.nn.Module) -> None:
    batch = Batch.from_data_list([bag(5, 0), bag(9, 1)])
    order = torch.randperm(14, generator=torch.Generator().manual_seed(1))
    mixed = batch.clone()
    mixed.x, mixed.batch, mixed.edge_index = (
        batch.x[order],
        batch.batch[order],
        torch.argsort(order)[batch.edge_index],
    )
    torch.testing.assert_close(network(mixed), network(batch), rtol=1e-4, atol=1e-5)


class MadeBytes(TorchDispatchMode):
    """Sums the sizes of all tensors that operations return, forward and backward."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.total += sum(one.nbytes for one in tree_leaves(found) if isinstance(one, torch.Tensor))
        return found


def test_memory_is_linear_in_tiles(network: torch.nn.Module) -> None:
    """An attention between all pairs of tiles would give a ratio of 4."""
    made = {}
    for tiles in (2_500, 5_000):
        batch = Batch.from_data_list([bag(tiles, 0)])
        with MadeBytes() as counted:
            network.train()(batch).sum().backward()
        made[tiles] = counted.total
    assert made[5_000] < 2.1 * made[2_500]


def test_graph_aggregators_heed_their_edges(network: torch.nn.Module) -> None:
    one = bag(10, 3)
    other = Data(x=one.x, edge_index=torch.zeros(2, 0, dtype=torch.int64), edge_length=torch.zeros(0))
    same = torch.allclose(network(Batch.from_data_list([one])), network(Batch.from_data_list([other])), atol=1e-5)
    assert same != network.uses_graph


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(InputError, match="there are mean, amil, clam, transformer, patch_gcn, "):
        build_aggregator("max", 6)
    with pytest.raises(InputError, match="'mean' does not take these settings: .*hidden_dim"):
        build_aggregator("mean", 6, hidden_dim=3)
    for name in ("transformer", "spatial_gat"):
        with pytest.raises(InputError, match="num_heads must divide hidden_dim, got 5 and 64"):
            build_aggregator(name, 6, num_heads=5)


COST = """
import os, resource, sys, time
import numpy as np, psutil, torch
from torch_geometric.data import Batch, Data
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.transforms.tile_graph import TileGraph, edge_lengths
torch.set_num_threads(1)
name, tiles = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
kinds = rng.normal(size=(40, 1024)).astype(np.float32) * 2
x = kinds[rng.integers(40, size=tiles)]
x += rng.normal(size=(tiles, 8)).astype(np.float32) @ rng.normal(size=(8, 1024)).astype(np.float32)
side = int(np.ceil(tiles**0.5))
coords = np.stack((np.arange(tiles) % side, np.arange(tiles) // side), 1) * 512
network = build_aggregator(name, 1024, 4)
bag = Data(x=torch.from_numpy(x))
start = time.process_time()
if network.uses_graph:
    edges = TileGraph()(x, coords)
    bag.edge_index, bag.edge_length = torch.from_numpy(edges), torch.from_numpy(edge_lengths(edges, coords))
graph_s = time.process_time() - start
bag = Batch.from_data_list([bag])
network.train()
before = psutil.Process().memory_info().rss
start = time.process_time()
network(bag).sum().backward()
step_s = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
print(graph_s, step_s, peak / 2**30)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(AGGREGATORS))
def test_fifty_thousand_tiles_train_under_4_gb_in_linear_time(name: str) -> None:
    """Forward and backward of one bag of M x 1024 in a new process, memory beside the bag and its graph, CPU time."""
    measured = {}
    for tiles in (12_500, 50_000):
        done = subprocess.run(
            [sys.executable, "-c", COST, name, str(tiles)], capture_output=True, text=True, check=True, timeout=500
        )
        measured[tiles] = tuple(map(float, done.stdout.split()))
        print(
            f"{name} {tiles} tiles: graph {measured[tiles][0]:.1f} CPU s, step {measured[tiles][1]:.2f} CPU s, "
            f"peak {measured[tiles][2]:.2f} GB"
        )
    assert measured[50_000][2] < 4
    assert measured[50_000][1] < 4 * 2 * measured[12_500][1] + 0.5
