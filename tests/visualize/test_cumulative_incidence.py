"""Figures of competing risks: curves and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.cumulative_incidence import draw_cumulative_incidence


def test_curves_and_numbers() -> None:
    time, event = np.arange(1.0, 9.0), np.array([1, 2, 1, 0, 2, 1, 0, 0])
    high = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    figure = draw_cumulative_incidence(time, event, high, {1: "cancer", 2: "other"}, "T", "months", "cut", "note")
    axes, table = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "high risk: cancer (2 of 4)",
        "high risk: other (1 of 4)",
        "low risk: cancer (1 of 4)",
        "low risk: other (1 of 4)",
    ]
    assert [line.get_ydata()[-1] for line in axes.lines] == pytest.approx([0.5, 0.25, 0.25, 0.25])
    assert [text.get_text() for text in table.texts if text.get_position() == (0.0, 1)] == ["4"]
    assert figure.get_supxlabel() == "cut\nnote"
    figure.canvas.draw()


def test_one_group_or_no_cause_is_refused() -> None:
    for high, causes in ((np.ones(4, bool), {1: "a"}), (np.array([1, 0, 1, 0], bool), {})):
        with pytest.raises(InputError, match="no incidence to draw"):
            draw_cumulative_incidence(np.ones(4), np.ones(4), high, causes)
