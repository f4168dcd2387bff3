from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmgdm_monai.visualize.heatmap import (
    Placed,
    bar_length_um,
    colors_of,
    draw_heatmap,
    length_text,
    tile_grid,
    value_range,
)


@given(st.floats(1, 1e6))
def test_scale_bar_is_a_round_length_that_fits(width_um):
    length = bar_length_um(width_um)
    assert width_um / 10 - 1e-9 <= length <= width_um / 4
    assert f"{length:e}"[0] in "125"


def test_lengths_have_their_unit():
    assert [length_text(value) for value in (50, 500, 1000, 2000)] == ["50 µm", "500 µm", "1 mm", "2 mm"]


def test_tiles_lie_on_their_grid_though_corners_are_rounded():
    step = 102.6
    places = np.array([[0, 0], [2, 0], [1, 3], [7, 5]])
    grid = tile_grid(np.rint(places * step), np.arange(4.0), step, step)
    assert grid.pixels.shape == (6, 8)
    assert [grid.pixels[y, x] for x, y in places] == [0, 1, 2, 3]
    assert np.isfinite(grid.pixels).sum() == 4
    overlapping = tile_grid(np.array([[0, 0], [50, 0]]), np.arange(2.0), 80, 50)
    left, right, bottom, top = overlapping.extent
    assert (left, right, top, bottom) == (15, 115, 15, 65)  # cells around the tiles' middles, at 40 and 90


def test_one_outlier_does_not_take_all_colors():
    values = np.linspace(0, 1, 1000)
    assert value_range(values[:5])[1] == values[4]
    assert value_range(np.append(values, [1e6, np.nan]))[1] < 1.1
    low, high = value_range(np.full(3, 2.0))
    assert low < 2 < high
    assert len(np.unique(colors_of(np.array([0, 0.5, 1, 9]), (0, 1)), axis=0)) == 3


@pytest.mark.parametrize("mpp", [0.5, None])
def test_hot_cell_is_painted_where_it_lies_and_nowhere_else(mpp):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    tissue = Placed(np.full((60, 90, 3), 200, np.uint8), (0, 0), 10.0)  # 900 x 600 level-0 px
    tissue.pixels[22:26, 52:56] = (160, 0, 160)  # the mark, at (540, 240)
    values = np.full((6, 9), np.nan)
    values[:, 3:7] = 0.0
    values[2, 5] = 1.0
    figure = draw_heatmap(tissue, Placed(values, (0, 0), 100.0), "heat", mpp, "a", note="small print")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)

    def at(axes, x, y):
        column, row = axes.transData.transform((x, y))
        return pixels[pixels.shape[0] - 1 - int(row), int(column)]

    plain, painted, bar = figure.axes
    np.testing.assert_allclose(at(plain, 540, 240), (160, 0, 160), atol=3)
    hot, cold, none = at(painted, 590, 290), at(painted, 450, 250), at(painted, 850, 250)
    assert hot[0] > hot[2] + 60  # yellow
    assert cold[2] > cold[1]  # violet
    np.testing.assert_allclose(none, 200, atol=3)  # bare gray
    assert [len(axes.texts) for axes in (plain, painted)] == ([1, 1] if mpp else [0, 0])
    assert bar.get_ylabel() == "heat"
    assert ("no scale bar" in figure.get_supxlabel()) == (mpp is None)


def test_tiles_of_another_programs_grid_are_painted_where_they_lie():
    coords = np.array([[37, 11], [137, 11], [37, 111], [590, 400]])  # two contours, each with a grid of its own
    painted = tile_grid(coords, np.arange(1.0, 5.0), 100, 100)
    cell = painted.pixel_px
    assert cell == 12.5
    for (x, y), value in zip(coords, np.arange(1.0, 5.0), strict=True):
        centers = (np.argwhere(painted.pixels == value)[:, ::-1] + 0.5) * cell + painted.origin_px
        assert len(centers) == 64
        np.testing.assert_allclose(centers.mean(0), (x + 50, y + 50), atol=cell / 2)
    assert np.isfinite(painted.pixels).sum() == 4 * 64


def test_overlapping_tiles_off_the_grid_give_their_mean():
    painted = tile_grid(np.array([[5, 0], [55, 0]]), np.array([1.0, 3.0]), 100, 100)
    assert sorted(set(painted.pixels[0].tolist())) == [1.0, 2.0, 3.0]
    assert painted.pixels[:, :4].max() == 1.0
    assert (painted.pixels == 2.0).sum() == 4 * 8
