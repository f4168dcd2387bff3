"""The lengths of edges reach the output."""

from __future__ import annotations

import math

import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.networks.aggregators.spatial_gat import radial_basis

EDGES = torch.tensor([[1, 2, 3, 0, 2, 3], [0, 0, 0, 1, 1, 2]])
LENGTHS = torch.tensor([1.0, 1.4, 9.0, 1.0, 9.0, 2.0])


def output(edges: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    network = build_aggregator("spatial_gat", 6).eval()
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    return network(Batch.from_data_list([Data(x=x, edge_index=edges, edge_length=lengths)]))


def test_lengths_weight_neighbors_and_may_be_unknown() -> None:
    swapped = LENGTHS[[2, 1, 0, 3, 4, 5]]  # another neighbor of tile 0 is the far one
    assert not torch.allclose(output(EDGES, LENGTHS), output(EDGES, swapped), atol=1e-5)
    assert output(EDGES, torch.full((6,), math.inf)).isfinite().all()


def test_the_basis_is_zero_for_an_unknown_length_and_peaks_at_powers_of_two() -> None:
    found = radial_basis(torch.tensor([0.0, 1.0, 127.0, math.inf], dtype=torch.float64))
    assert found.argmax(1)[:3].tolist() == [0, 1, 7] and torch.equal(
        found[[0, 1, 2], [0, 1, 7]], torch.ones(3).double()
    )
    assert not found[3].any()
