"""Figures of calibrated survival: points and intervals."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival_calibration import HorizonCalibration
from hmgdm_monai.visualize.survival_calibration import draw_survival_calibration


def test_points_intervals_and_index() -> None:
    found = HorizonCalibration(
        12.0,
        np.array([5, 6]),
        np.array([0.2, 0.7]),
        np.array([0.0, 0.6]),
        np.array([0.0, 0.4]),
        np.array([np.nan, 0.8]),
        0.031,
    )
    figure = draw_survival_calibration({"amil": found}, "T", "months", "a note")
    axes = figure.axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[0.2, 0.0], [0.7, 0.6]]
    assert axes.get_legend().get_texts()[0].get_text() == "amil (ICI 0.031)"
    assert axes.get_xlabel().endswith("die until 12 months")
    assert "Groups of 5 to 6 patients" in figure.get_supxlabel()
    figure.canvas.draw()


def test_no_model_is_refused() -> None:
    with pytest.raises(InputError, match="no model"):
        draw_survival_calibration({})
