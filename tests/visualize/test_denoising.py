"""What is hidden is gray or restored; what is visible is the tile, in every panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.denoising import draw_denoising, hidden_pixels
from hmgdm_monai.visualize.save import save_figure

RNG = np.random.default_rng(3)
TILE = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)
LABELS = torch.from_numpy(np.repeat([0, 1, 2], 10)[None].repeat(20, axis=0).astype(np.int32)[None])
HIDDEN = hidden_pixels(LABELS, torch.tensor([True, False, True]))
STEPS = [np.full((20, 30, 3), value, np.uint8) for value in (10, 120, 230)]
TRUTH = np.full((20, 30, 3), 77, np.uint8)


def draw(hidden: np.ndarray = HIDDEN, **options: object) -> Figure:
    return draw_denoising(TILE, STEPS, ["t = 999", "t = 500", "t = 0"], hidden, TRUTH, **options)


def test_hidden_pixels_are_those_of_hidden_superpixels() -> None:
    assert HIDDEN.shape == (1, 20, 30)
    assert HIDDEN.dtype == bool
    assert np.array_equal(HIDDEN[0].any(axis=0), np.arange(30) // 10 == 1)
    visible = torch.tensor([True, False, True])
    assert np.array_equal(hidden_pixels(LABELS, ~visible), ~HIDDEN)
    assert not hidden_pixels(LABELS.numpy(), np.ones(3, bool)).any()


def test_panels_in_their_order() -> None:
    figure = draw(title="Tile 7", note="synthetic demo cohort")
    panels = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    tile = TILE.transpose(1, 2, 0)
    assert len(panels) == 2 + len(STEPS) + 1
    assert np.array_equal(panels[0], tile)
    assert len(np.unique(panels[1][HIDDEN[0]])) == 1  # one gray: nothing of the hidden half shines through
    for panel, painted in zip(panels[2:], [*STEPS, TRUTH], strict=True):
        assert np.array_equal(panel[HIDDEN[0]], painted[HIDDEN[0]])
    for panel in panels:
        assert np.array_equal(panel[~HIDDEN[0]], tile[~HIDDEN[0]])
    titles = [axes.get_title() for axes in figure.axes]
    assert "33 % hidden" in titles[1]
    assert titles[2:5] == ["t = 999", "t = 500", "t = 0"]
    assert "true latents" in titles[5]
    assert figure.get_suptitle() == "Tile 7"
    assert figure.get_supxlabel().endswith("synthetic demo cohort")


def test_the_outline_runs_along_the_hidden_border() -> None:
    figure = draw()
    assert not figure.axes[0].collections
    segments = np.array(figure.axes[1].collections[0].get_segments())
    assert segments.shape == (40, 2, 2)  # two upright lines of 20 pixels each
    assert set(segments[..., 0].ravel()) == {9.5, 19.5}
    assert np.abs(np.diff(segments[..., 1], axis=1)).tolist() == [[1.0]] * 40


@pytest.mark.parametrize("all_hidden", [False, True])
def test_nothing_or_all_hidden_still_gives_a_file(all_hidden: bool, tmp_path: Path) -> None:
    figure = draw(np.full_like(HIDDEN, all_hidden))
    assert ("100 %" if all_hidden else "0 %") in figure.axes[1].get_title()
    with Image.open(save_figure(figure, tmp_path / "denoising.png", dpi=50)) as image:
        image.load()
        assert image.width > image.height


def test_titles_of_neighbors_do_not_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_denoising(TILE, STEPS, ["noise\nt = 999", "t = 500", "restored\nt = 0"], HIDDEN, TRUTH)
    FigureCanvasAgg(figure).draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
    (suptitle,) = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
    assert all(box.y1 <= suptitle.get_window_extent().y0 + 1 for box in boxes)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="label for each"):
        draw_denoising(TILE, STEPS, ["one"], HIDDEN, TRUTH)
    with pytest.raises(InputError, match="at least one painted step"):
        draw_denoising(TILE, [], [], HIDDEN, TRUTH)
    with pytest.raises(InputError, match="mask"):
        draw_denoising(TILE, STEPS, ["a", "b", "c"], HIDDEN[0], TRUTH)
    with pytest.raises(InputError, match="Painted"):
        draw_denoising(TILE, STEPS, ["a", "b", "c"], HIDDEN, TRUTH / 255)
    with pytest.raises(InputError, match="3 superpixels"):
        hidden_pixels(LABELS, torch.tensor([True, False]))
