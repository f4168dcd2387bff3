"""Painting undoes the cutting of windows wherever a window reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.entity_windows import graph_windows
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.visualize.paint import paint_superpixels


def random_tile(height: int, width: int, seed: int) -> tuple[np.ndarray, EntityGraph]:
    """A tile of noise, with superpixels that are cells around random points (not needed to be connected)."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
    seeds = rng.random((rng.integers(1, 8), 2)) * (height, width)
    places = np.stack(np.mgrid[:height, :width], axis=-1)[..., None, :] + 0.5
    nearest = np.square(places - seeds).sum(-1).argmin(-1)
    labels = np.unique(nearest, return_inverse=True)[1].reshape(1, height, width).astype(np.int32)
    return image, build_entity_graph(image, labels)


def windows_of(graph: EntityGraph, window_px: int) -> torch.Tensor:
    return graph_windows(graph, window_px, edges=False)[0].float() / 255


def paint(graph: EntityGraph, window_px: int) -> np.ndarray:
    return paint_superpixels(graph.label_map, windows_of(graph, window_px), graph.pos)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(3, 40), st.integers(0, 999), st.integers(1, 16))
def test_own_windows_give_back_the_pixels_they_cover(height: int, width: int, seed: int, window_px: int) -> None:
    image, graph = random_tile(height, width, seed)
    painted = paint(graph, window_px)
    assert painted.shape == (height, width, 3)
    assert painted.dtype == np.uint8
    # An oracle that knows nothing of how halves are rounded: what is surely within a window is a copy.
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y = (graph.pos.numpy() * (width, height)).T[:, graph.label_map[0].numpy()]
    reach = window_px / 2 - 1
    covered = (np.abs(columns - x) <= reach) & (np.abs(rows - y) <= reach)
    assert np.array_equal(painted[covered], image.transpose(1, 2, 0)[covered])


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(0, 999), st.booleans())
def test_windows_that_cover_all_give_back_the_tile(height: int, width: int, seed: int, odd: bool) -> None:
    image, graph = random_tile(height, width, seed)
    painted = paint(graph, window_px=2 * max(height, width) + 2 + odd)
    assert np.array_equal(painted, image.transpose(1, 2, 0))


def test_beyond_the_window_its_nearest_pixel_is_repeated() -> None:
    image = np.arange(3 * 10 * 12, dtype=np.uint16).astype(np.uint8).reshape(3, 10, 12)
    graph = build_entity_graph(image, np.zeros((1, 10, 12), np.int32))
    rows, columns = np.arange(10).clip(3, 6), np.arange(12).clip(4, 7)  # the window around (6, 5)
    assert np.array_equal(paint(graph, 4), image[:, rows][:, :, columns].transpose(1, 2, 0))


def test_a_superpixel_takes_its_own_window_alone() -> None:
    _, graph = random_tile(30, 24, seed=5)
    colors = torch.linspace(0, 1, graph.num_vertices)
    flat = colors[:, None, None, None].expand(-1, 3, 8, 8)
    painted = paint_superpixels(graph.label_map, flat, graph.pos)
    expected = np.rint(colors.numpy() * 255).astype(np.uint8)[graph.label_map[0].numpy()]
    assert np.array_equal(painted, np.repeat(expected[..., None], 3, axis=-1))


def test_values_are_clipped() -> None:
    _, graph = random_tile(12, 12, seed=1)
    ones = torch.ones(graph.num_vertices, 3, 4, 4)
    assert (paint_superpixels(graph.label_map, 3 * ones, graph.pos) == 255).all()
    assert (paint_superpixels(graph.label_map, -ones, graph.pos) == 0).all()


def test_a_real_tile_is_mostly_given_back(real_data: Path) -> None:
    path = min((real_data / "prostate_gleason" / "labelled" / "1_gleason3").glob("*.jpeg"))
    with Image.open(path) as file:
        image = np.asarray(file.convert("RGB")).transpose(2, 0, 1)
    graph = build_entity_graph(image, Superpixels()(image))
    same = (paint(graph, 32) == image.transpose(1, 2, 0)).all(-1)
    assert same.mean() > 0.5  # 32 px windows of superpixels about 36 px wide


def test_bad_input() -> None:
    _, graph = random_tile(20, 20, seed=2)
    windows, count = windows_of(graph, 4), graph.num_vertices
    with pytest.raises(InputError, match=f"{count} superpixels need windows"):
        paint_superpixels(graph.label_map, windows[:-1], graph.pos)
    with pytest.raises(InputError, match=f"{count} superpixels need positions"):
        paint_superpixels(graph.label_map, windows, graph.pos[:-1])
    with pytest.raises(InputError, match="divide bytes by 255"):
        paint_superpixels(graph.label_map, (windows * 255).to(torch.uint8), graph.pos)
    windows[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=f"1 of {count} windows"):
        paint_superpixels(graph.label_map, windows, graph.pos)
