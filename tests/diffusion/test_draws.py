"""Draws for a batch that ranks share: together those of one process."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion import draws as module
from hmgdm_monai.diffusion.draws import BatchDraws

SIZES = ((3, 2), (5, 0), (1, 0), (4, 7), (6, 3), (2, 1))  # vertices, edges


def graph(number: int) -> EntityGraph:
    vertices, edges = SIZES[number]
    return EntityGraph(pos=torch.full((vertices, 2), float(number)), edge_index=torch.zeros(2, edges, dtype=torch.long))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=[2, 3])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], BatchDraws]]:
    """For each rank the graphs it holds and its draws, of one batch of all six."""
    count = request.param
    held = [list(range(rank, len(SIZES), count)) for rank in range(count)]
    batches = [Batch.from_data_list([graph(number) for number in numbers]) for numbers in held]
    counts = [torch.tensor([SIZES[number] for number in numbers]).T for numbers in held]
    monkeypatch.setattr(module, "num_ranks", lambda: count)
    made = []
    for rank, (numbers, batch) in enumerate(zip(held, batches, strict=True)):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)

        def gather(mine: Tensor, rank: int = rank) -> list[Tensor]:
            assert torch.equal(mine, counts[rank])
            return counts

        monkeypatch.setattr(module, "gather", gather)
        made.append((numbers, BatchDraws(batch, generator(), shared=True)))
    return made


@pytest.fixture
def alone() -> BatchDraws:
    return BatchDraws(Batch.from_data_list([graph(number) for number in range(len(SIZES))]), generator())


@pytest.mark.parametrize("kind", ["vertices", "edges", "graphs"])
def test_each_rank_gets_the_rows_of_its_graphs(kind: str, shared: list, alone: BatchDraws) -> None:
    def draw(draws: BatchDraws) -> Tensor:
        def normal(batch: Tensor | int) -> Tensor:
            return torch.randn(batch if isinstance(batch, int) else len(batch), 2, generator=draws.generator)

        return getattr(draws, f"of_{kind}")(normal)

    whole = draw(alone)
    owner = {"vertices": alone.vertex_batch, "edges": alone.edge_batch, "graphs": torch.arange(len(SIZES))}[kind]
    for numbers, draws in shared:
        assert draws.num_graphs == len(SIZES) and len(draws) == len(alone)
        assert torch.equal(draw(draws), torch.cat([whole[owner == number] for number in numbers]))


@pytest.mark.parametrize("edges", [True, False])
def test_ranks_choose_together_what_one_chooses(shared: list, alone: BatchDraws, edges: bool) -> None:
    """Entities told apart by (kind, graph, place in the graph)."""

    def names(numbers: list[int]) -> list[tuple[str, int, int]]:
        vertices = [("vertex", number, place) for number in numbers for place in range(SIZES[number][0])]
        return vertices + [("edge", number, place) for number in numbers for place in range(SIZES[number][1])]

    chosen, among = alone.choose(11, edges)
    assert among.all() and len(chosen.unique()) == 11 and (edges or chosen.max() < len(alone.vertex_batch))
    expected = [names(list(range(len(SIZES))))[place] for place in chosen]
    found: dict[int, tuple[str, int, int]] = {}
    for numbers, draws in shared:
        mine, among = draws.choose(11, edges)
        places = among.nonzero().flatten().tolist()
        found |= {place: names(numbers)[entity] for place, entity in zip(places, mine.tolist(), strict=True)}
    assert [found[place] for place in range(11)] == expected


def test_a_batch_that_is_not_shared_hears_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(mine: Tensor) -> list[Tensor]:
        raise AssertionError

    monkeypatch.setattr(module, "num_ranks", lambda: 2)
    monkeypatch.setattr(module, "gather", nobody)
    draws = BatchDraws(graph(3), generator())
    assert draws.num_graphs == 1 and torch.equal(draws.of_vertices(torch.clone), torch.zeros(4, dtype=torch.long))
