"""Mass of attention on nuclei over their area: closed forms, and the table of it."""

from __future__ import annotations

import numpy as np
import pytest
from benchmark_parts.nuclei_attention import TILE_PX, mass_over_area, measure, shrunk


def test_even_attention_has_no_preference_and_attention_on_nuclei_alone_the_inverse_of_their_area() -> None:
    share = np.zeros((8, 8))
    share[:2] = 1.0  # a quarter
    assert mass_over_area(np.full((8, 8), 3.0), share) == pytest.approx(1)
    assert mass_over_area(share, share) == pytest.approx(4)
    assert mass_over_area(7.0 * share, share) == pytest.approx(4)  # whatever the scale
    assert mass_over_area(1.0 - share, share) == 0


def test_an_image_and_its_nuclei_shrink_together() -> None:
    image, labels = np.zeros((3, 1000, 1000), np.uint8), np.zeros((1000, 1000), np.int32)
    image[0, 500:], labels[500:] = 200, 7
    tile, nuclei = shrunk(image, labels)
    assert tile.shape == (TILE_PX, TILE_PX, 3) and tile.dtype == np.uint8 and nuclei.shape == (TILE_PX, TILE_PX)
    assert nuclei.mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(tile[..., 0] - 200 * nuclei).max() < 2


def test_the_table_has_a_row_for_each_kind_and_the_spread_over_its_networks() -> None:
    share = np.zeros((4, 4))
    share[0] = 1.0
    tiles = {"a": (np.zeros((4, 4, 3)), share), "b": (np.zeros((4, 4, 3)), share)}
    lines, maps = measure({"gate": [lambda _: share, lambda _: np.ones((4, 4))], "vit": [lambda _: 1 - share]}, tiles)
    assert lines[-2] == "| gate | 2.50 ± 2.12 | 2.50 ± 2.12 | 2.50 ± 2.12 |"
    assert lines[-1] == "| vit | 0.00 | 0.00 | 0.00 |"
    assert np.allclose(maps["gate"][0], (share + 1) / 2)
