"""The way of a tile: what it gives, what can be asked of it, and how it is told apart from another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Flipd, Lambdad, RandFlipd
from users_parts import Darkend

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.cells import Cells
from hmgdm_monai.transforms.cut_entities import CutEntitiesd
from hmgdm_monai.transforms.entity_cutter import NoEntitiesError
from hmgdm_monai.transforms.entity_graph import BuildEntityGraphd, build_entity_graph
from hmgdm_monai.transforms.squares import Squares
from hmgdm_monai.transforms.stain import NormalizeStain
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import (
    cutter_in,
    described,
    graph_transforms,
    image_transforms,
    reads_cells,
    tile_graph,
)

CUT = Superpixels(n_segments=12)


@pytest.fixture
def tile(stained: Any) -> np.ndarray:
    return np.ascontiguousarray(stained(64, 64).transpose(2, 0, 1))


def with_own(*own: Any) -> Compose:
    """Transforms of the user's own before the cut."""
    return Compose([*own, *graph_transforms(CUT).transforms])


def test_the_usual_way_gives_the_graph_of_the_cut(tile: np.ndarray) -> None:
    graph, expected = tile_graph(graph_transforms(CUT), tile, 0.5), build_entity_graph(tile, CUT(tile))
    for name in ("pos", "edge_index", "label_map", "image"):
        assert torch.equal(graph[name], expected[name]), name
    assert float(graph.mpp) == 0.5


def test_stains_are_normalized_before_the_cut(tile: np.ndarray) -> None:
    stain = NormalizeStain()
    graph = tile_graph(graph_transforms(CUT, stain), tile)
    assert not np.array_equal(stain(tile), tile)
    assert np.array_equal(graph.image[0].numpy(), stain(tile))
    assert torch.equal(graph.label_map, build_entity_graph(stain(tile), CUT(stain(tile))).label_map)


def test_a_transform_between_ours_changes_tile_and_entities(tile: np.ndarray) -> None:
    flipped = tile_graph(with_own(Flipd("image", 1)), tile)
    assert np.array_equal(flipped.image[0].numpy(), tile[:, :, ::-1])


def test_without_a_graph_at_its_end_the_way_is_refused(tile: np.ndarray) -> None:
    with pytest.raises(InputError, match="make no graph"):
        tile_graph(Compose([CutEntitiesd("image", CUT)]), tile)


def test_a_tile_without_entities_is_told_by_its_type(tile: np.ndarray) -> None:
    """``Compose`` raises RuntimeError whatever goes wrong."""
    with pytest.raises(NoEntitiesError, match="no cell"):
        tile_graph(graph_transforms(Cells()), np.full_like(tile, 255), 0.5)
    with pytest.raises(InputError, match="scale|microns|mpp"):
        tile_graph(graph_transforms(Cells()), tile, None)
    with pytest.raises(RuntimeError, match="applying transform"):
        tile_graph(with_own(Lambdad("image", lambda image: 1 / 0)), tile)


def test_what_changes_the_image_is_all_before_the_cut_nested_or_not(tile: np.ndarray) -> None:
    nested = Compose([Compose([Darkend("image", 0.5), Flipd("image", 1)]), *graph_transforms(CUT).transforms])
    alone = image_transforms(nested)
    assert len(alone) == 2 and cutter_in(nested) is CUT
    assert np.array_equal(alone({"image": tile})["image"], (tile * 0.5).astype(np.uint8)[:, :, ::-1])
    assert len(image_transforms(graph_transforms(CUT))) == 0
    assert cutter_in(alone) is None


def test_cells_are_read_where_the_cutter_reads_them() -> None:
    assert reads_cells(graph_transforms(Cells())) and not reads_cells(graph_transforms(CUT))


def halved(image: np.ndarray) -> np.ndarray:
    return image // 2


def test_other_ways_are_described_otherwise_and_equal_ones_alike() -> None:
    ways = [
        graph_transforms(CUT),
        graph_transforms(Superpixels(n_segments=13)),
        graph_transforms(Squares(12)),
        graph_transforms(CUT, NormalizeStain()),
        with_own(Darkend("image", 0.5)),
        with_own(Darkend("image", 0.6)),
        with_own(Darkend("outlines", 0.5)),
        with_own(Flipd("image", 0)),
        with_own(Flipd("image", 1)),
        with_own(Lambdad("image", halved)),
        Compose([CutEntitiesd("image", CUT), Darkend("image", 0.5), BuildEntityGraphd("image")]),
    ]
    told = [repr(described(way)) for way in ways]
    assert len(set(told)) == len(ways)
    assert described(with_own(Darkend("image", 0.5))) == described(with_own(Darkend("image", 0.5)))
    assert described(Compose([graph_transforms(CUT)])) == described(graph_transforms(CUT))
    assert described(None) is None


def test_the_state_of_random_numbers_is_no_part_of_a_description() -> None:
    first, second = RandFlipd("image", 0.5), RandFlipd("image", 0.5)
    first.set_random_state(1)
    second.set_random_state(2)
    assert described(first) == described(second) != described(RandFlipd("image", 0.6))


def test_arrays_are_told_apart_by_their_content() -> None:
    ones, twos = np.ones(3), np.full(3, 2.0)
    assert described(ones) == described(ones.copy()) != described(twos)
    assert described(torch.ones(3)) != described(torch.ones(3, dtype=torch.float64))
