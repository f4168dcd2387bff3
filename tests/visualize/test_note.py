"""Small print stands inside the figure, whatever its width."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hmgdm_monai.visualize.note import add_note


@pytest.mark.parametrize("width_in", [3.0, 6.0, 16.0])
def test_a_long_note_wraps_within_the_figure(width_in: float) -> None:
    figure = Figure(figsize=(width_in, 4), layout="constrained")
    axes = figure.subplots()
    note = " ".join(["synthetic demo cohort, drawn by a seeded procedure"] * 5)
    add_note(figure, "first", None, "", note)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    text = figure.get_supxlabel()
    assert text.startswith("first\n")
    assert " ".join(text.split("\n")) == f"first {note}"
    (label,) = [t for t in figure.texts if t.get_text() == text]
    box = label.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert box.y1 <= axes.get_tightbbox().y0 + 1  # below the panel, not over it


def test_no_note_leaves_no_room() -> None:
    figure = Figure()
    add_note(figure, None, "")
    assert figure.texts == []
