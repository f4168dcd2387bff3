"""The benchmark of the dense task, but for its training."""

from __future__ import annotations

import math

import torch
from benchmark_parts.dense_cost import training_step
from benchmark_parts.dirl import region_shares, table


def test_shares_of_superpixels_in_regions():
    superpixels = torch.tensor([[0, 0, 1], [0, 2, 1]])
    regions = torch.tensor([[0, 1, 1], [255, 2, 1]])
    assert torch.allclose(
        region_shares(superpixels, regions, 3, 3),
        torch.tensor([[1, 1, 0], [0, 2, 0], [0, 0, 1]]) / torch.tensor([[3], [2], [1]]),
    )


def test_table_has_mean_and_spread_over_seeds_and_a_dash_for_what_is_not_known():
    rows = {
        "a": {0: {"auc": 0.8, "attention_gini": 0.1}, 1: {"auc": 0.9, "attention_gini": 0.3}},
        "b": {0: {"auc": 0.5}},
        "c": {},
    }
    lines = table(rows).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(lines) == 4 and len({len(row) for row in cells}) == 1
    column = dict(zip(cells[0], cells[2], strict=True))
    assert column["AUC"] == f"0.850 ± {math.sqrt(0.005):.3f}" and column["seeds"] == "2" and column["entropy"] == "-"
    assert dict(zip(cells[0], cells[3], strict=True))["AUC"] == "0.500"


def test_both_steps_run():
    for weight in (0.0, 1.0):
        training_step("dino", weight)()
