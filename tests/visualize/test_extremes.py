from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.extremes import ExtremePanel, ExtremeRow, draw_extremes


def panel(text: str, mask: np.ndarray | None = None) -> ExtremePanel:
    return ExtremePanel(np.full((32, 32, 3), 200, np.uint8), text, mask)


def test_the_outline_lies_around_the_superpixel():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    mask = np.zeros((32, 32), bool)
    mask[:8, 20:30] = True  # at the border of the tile
    figure = draw_extremes(
        [ExtremeRow("risk", [[panel("1.2 (3.4)", mask)], [panel("-1")]])], ["highest", "lowest"], "t"
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    green = (pixels[..., 1] - pixels[..., 0] > 100) & (pixels[..., 1] - pixels[..., 2] > 60)
    rows, columns = np.nonzero(green)
    axes = figure.axes[0]
    # Around the mask and nowhere else; pixel rows count from the top.
    left, top = axes.transData.transform((19.5, -0.5))
    right, bottom = axes.transData.transform((29.5, 7.5))
    height = pixels.shape[0]
    assert abs(columns.min() - left) < 3 and abs(columns.max() - right) < 3
    assert abs(height - rows.max() - bottom) < 3 and abs(height - rows.min() - top) < 3
    assert axes.get_xlabel() == "1.2 (3.4)" and figure.axes[0].get_title("left") == "highest"


def test_rows_may_hold_fewer_tiles_than_others():
    rows = [ExtremeRow("a", [[panel("1"), panel("2")], []]), ExtremeRow("b", [[panel("3")], [panel("4")]])]
    figure = draw_extremes(rows, ["high", "low"], "t", "note")
    texts = [axes.get_xlabel() for axes in figure.axes]
    assert [text for text in texts if text] == ["1", "2", "3", "4"]


def test_nothing_to_draw_is_one_line():
    with pytest.raises(InputError, match="no tiles"):
        draw_extremes([ExtremeRow("a", [[], []])], ["high", "low"], "t")
    with pytest.raises(InputError, match="groups"):
        draw_extremes([ExtremeRow("a", [[panel("1")]])], ["high", "low"], "t")
