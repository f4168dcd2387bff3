"""Reliability figures: what is drawn is what was counted."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.calibration import ReliabilityCurve
from hmgdm_monai.visualize.calibration import draw_calibration


def test_points_counts_and_error_are_those_of_the_curve() -> None:
    curve = ReliabilityCurve(np.array([3, 9]), np.array([0.55, 0.9]), np.array([2 / 3, 1.0]))
    figure = draw_calibration({"model": curve}, "T", "a note")
    axes, below = figure.axes
    label = axes.get_legend().get_texts()[0].get_text()
    wanted = np.average(np.abs(curve.confidence - curve.accuracy), weights=curve.count)
    assert label == f"model (ECE {wanted:.3f})"
    assert axes.lines[1].get_xydata() == pytest.approx(np.stack((curve.confidence, curve.accuracy), 1))
    assert [segment[1][1] for segment in below.collections[0].get_segments()] == [3, 9]
    assert figure.get_supxlabel().endswith("a note")
    figure.canvas.draw()


def test_no_curve_is_refused() -> None:
    with pytest.raises(InputError, match="no curve"):
        draw_calibration({})
