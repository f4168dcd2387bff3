"""A graph encoder in miniature that nobody trained, and stored tiles for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmgdm_monai.data.graph_store import TileGraph, write_unit
from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.pretrained import load_pretrained, save_pretrained
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.superpixels import Superpixels


@pytest.fixture(scope="session")
def tiny_model(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model.pt."""
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_pretrained(path, tiny.encoder())
    return path


@pytest.fixture(scope="session")
def tiny_pretrained(tiny_model: Path) -> GraphTileEncoder:
    """The model, read from its file; not to be changed."""
    return load_pretrained(tiny_model)


@pytest.fixture
def graph_paths(tmp_path: Path, stained: Callable) -> list[Path]:
    """Unit "a" of three tiles of 64 px, the second of one color, and unit "b" of two, the last of which is a's first.

    All tiles of a unit are of one row of the manifest.
    """
    pixels = stained(64 * 4, 64).transpose(2, 0, 1)

    def tile(unit: str, place: int, number: int) -> TileGraph:
        image = np.ascontiguousarray(pixels[:, :, 64 * number : 64 * (number + 1)])
        if number == 1:
            image = np.full_like(image, 90)
        graph = build_entity_graph(image, Superpixels(12)(image))
        return TileGraph(graph, f"{unit}/row", (64 * place, 7), 0.5, image.transpose(1, 2, 0))

    return [
        write_unit(tmp_path / "graphs", name, [tile(name, *pair) for pair in enumerate(numbers)], {"n_segments": 12})
        for name, numbers in (("a", (0, 1, 2)), ("b", (3, 0)))
    ]
