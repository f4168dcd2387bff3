"""Cutting the tiles of a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmgdm_monai.transforms.cells import Cells
from hmgdm_monai.transforms.cut_entities import CutEntitiesd
from hmgdm_monai.transforms.squares import Squares
from hmgdm_monai.transforms.superpixels import Superpixels


@pytest.fixture
def tile(stained: Any) -> np.ndarray:
    return np.ascontiguousarray(stained(64, 64).transpose(2, 0, 1))


@pytest.mark.parametrize("cutter", [Superpixels(n_segments=12), Squares(9)], ids=["superpixels", "squares"])
def test_a_tile_gets_what_the_cutter_gives_and_the_dictionary_stays(cutter: Any, tile: np.ndarray) -> None:
    given = {"image": tile, "mpp": 0.5, "outlines": None, "name": "a"}
    cut, expected = CutEntitiesd("image", cutter)(given), cutter.cut(tile, 0.5, None)
    assert np.array_equal(cut["label_map"], expected.label_map) and cut["label_map"].shape == (1, 64, 64)
    assert np.array_equal(cut["edge_index"], expected.edge_index)
    assert cut["image"] is tile and cut["name"] == "a" and set(given) == {"image", "mpp", "outlines", "name"}


def test_scale_and_outlines_reach_the_cutter(tile: np.ndarray) -> None:
    outlines = np.zeros((64, 64), np.int32)
    outlines[5:15, 5:15], outlines[30:40, 30:40] = 1, 2
    cut = CutEntitiesd("image", Cells(max_edge_um=100.0))
    assert cut.reads_cells
    near = cut({"image": tile, "mpp": 0.5, "outlines": outlines})
    assert near["edge_index"].shape[1] > 0
    far = cut({"image": tile, "mpp": 50.0, "outlines": outlines})  # the same cells, 1.7 mm apart
    assert far["edge_index"].shape[1] == 0


def test_a_missing_tile_is_passed_over_only_where_that_is_allowed(tile: np.ndarray) -> None:
    with pytest.raises(KeyError):
        CutEntitiesd("image", Squares(9))({"other": tile})
    assert set(CutEntitiesd("image", Squares(9), allow_missing_keys=True)({"other": tile})) == {"other"}
