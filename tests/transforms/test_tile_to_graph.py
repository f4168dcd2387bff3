"""A tile (H, W, 3) becomes the graph that cutter and builder make of its planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.stain import NormalizeStain
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_to_graph import tile_to_graph


@pytest.mark.parametrize("stain", [None, "macenko"])
def test_it_is_the_graph_of_the_planes(stained: Any, stain: str | None) -> None:
    image = stained(96, 64)
    planes = NormalizeStain(stain)(np.ascontiguousarray(image.transpose(2, 0, 1)))
    expected = build_entity_graph(planes, Superpixels(20)(planes), mpp=0.5)
    graph = tile_to_graph(image, mpp=0.5, stain_method=stain, n_segments=20)
    assert graph.image.shape == (1, 3, 64, 96)
    for name in ("pos", "edge_index", "image", "label_map", "mpp"):
        assert torch.equal(graph[name], expected[name]), name


def test_bad_input_is_refused(stained: Any) -> None:
    with pytest.raises(InputError, match=r"\(H, W, 3\) uint8, not \(3, 64, 64\)"):
        tile_to_graph(stained(64, 64).transpose(2, 0, 1))
    with pytest.raises(InputError, match="graphs without tiles"):
        tile_to_graph(stained(64, 64), entity_kind="graphs")
    with pytest.raises(InputError, match="entity_kind must be one of"):
        tile_to_graph(stained(64, 64), entity_kind="glands")
