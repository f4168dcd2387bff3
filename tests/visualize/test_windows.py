"""The figure tells vertices from edges, and its share of variance is that of a PCA."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.save import save_figure
from hmgdm_monai.visualize.windows import draw_windows, unexplained_variance


def draw_random(count: int, size: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def panels(figure: Figure) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes]


def test_unexplained_variance_is_that_of_a_pca() -> None:
    windows = draw_random(40)
    flat = windows.flatten(1).double()
    centered = flat - flat.mean(0)
    _, scale, axes = torch.linalg.svd(centered, full_matrices=False)
    reconstructions = (flat.mean(0) + centered @ axes[:7].T @ axes[:7]).view_as(windows)
    expected = 1 - (scale[:7].square().sum() / scale.square().sum()).item()
    assert unexplained_variance(windows, reconstructions) == pytest.approx(expected, rel=1e-6)


def test_unexplained_variance_at_its_landmarks() -> None:
    windows = draw_random(9)
    assert unexplained_variance(windows, windows) == 0
    assert unexplained_variance(windows, windows.mean(0, keepdim=True).expand_as(windows)) == pytest.approx(1)
    for alike in (windows[:0], windows[:1], windows[:1].expand(7, -1, -1, -1)):
        assert math.isnan(unexplained_variance(alike, alike + 0.1))


def test_panels_hold_the_windows_of_vertices_and_edges() -> None:
    windows = draw_random(5)
    is_edge = torch.tensor([False, True, False, True, True])
    reconstructions = (windows - 0.1).requires_grad_()
    figure = draw_windows(windows, reconstructions, is_edge, title="Epoch 3", note="synthetic demo cohort")
    top = panels(figure)[:2]  # originals of vertices, of edges
    for strip, index in zip(top, ([0, 2], [1, 3, 4]), strict=True):
        for place, n in enumerate(index):
            start = place * (6 + 2)
            assert np.array_equal(strip[:, start : start + 6], windows[n].permute(1, 2, 0).numpy())
        assert strip.shape == (6, 8 * len(index) - 2, 3)
        assert (strip[:, 6:8] == 1).all()
    restored = panels(figure)[2][:, :6]
    assert np.allclose(restored, (windows[0] - 0.1).clamp(0, 1).permute(1, 2, 0), atol=1e-6)
    assert np.allclose(panels(figure)[4][:, :6], 0.1, atol=1e-6)  # the difference is of values before clipping
    titles = [axes.get_title() for axes in figure.axes[:2]]
    assert titles[0].startswith("2 of 2 vertices") and titles[1].startswith("3 of 3 edges")
    share = 100 * unexplained_variance(windows, reconstructions)
    assert figure.get_suptitle() == f"Epoch 3: unexplained variance of the windows {share:.1f} %"
    assert figure.get_supxlabel().endswith("synthetic demo cohort")


def test_few_are_drawn_but_all_are_counted() -> None:
    windows = draw_random(50)
    reconstructions = windows.clone()
    reconstructions[1] = 0  # not among those drawn
    figure = draw_windows(windows, reconstructions, max_each=4)
    assert panels(figure)[0].shape == (6, 4 * 8 - 2, 3)
    assert np.nanmax(panels(figure)[2]) == 0
    share = 100 * unexplained_variance(windows, reconstructions)
    assert share > 1
    assert f"{share:.1f} %" in figure.get_suptitle()


@pytest.mark.parametrize("only_edges", [False, True])
def test_one_window_is_drawn(only_edges: bool, tmp_path: Path) -> None:
    window = draw_random(1)
    figure = draw_windows(window, window, torch.tensor([only_edges]))
    assert "undefined" in figure.get_suptitle()
    assert ("edges" in figure.axes[0].get_title()) == only_edges
    with Image.open(save_figure(figure, tmp_path / "one.png")) as image:
        assert np.asarray(image).std() > 0


def test_bad_input() -> None:
    windows = draw_random(3)
    for wrong in ((windows, windows[:2]), (windows[:0], windows[:0]), (windows[:, :1], windows[:, :1])):
        with pytest.raises(InputError, match="shape"):
            draw_windows(*wrong)
    with pytest.raises(InputError, match="is_edge"):
        draw_windows(windows, windows, torch.zeros(2, dtype=torch.bool))
    with pytest.raises(InputError, match="max_each"):
        draw_windows(windows, windows, max_each=0)
