"""Predicted against true numbers: a point per patient, the same scale on both axes."""

from __future__ import annotations

import numpy as np

from hmgdm_monai.visualize.predicted_numbers import draw_predicted_numbers


def test_each_patient_is_a_point_of_its_fold() -> None:
    value, prediction, fold = np.arange(6.0), np.arange(6.0)[::-1] * 2, np.array([0, 0, 1, 1, 1, 3])
    (axes,) = draw_predicted_numbers(value, prediction, fold, "t", "score").axes
    *points, diagonal = axes.lines
    assert [len(line.get_xdata()) for line in points] == [2, 3, 1]
    assert sorted(np.concatenate([line.get_ydata() for line in points])) == sorted(prediction)
    assert axes.get_xlim() == axes.get_ylim() == tuple(diagonal.get_xdata()) and axes.get_xlim()[1] > 10
    assert axes.get_xlabel() == "true score"


def test_equal_numbers_have_a_scale() -> None:
    (axes,) = draw_predicted_numbers(np.ones(3), np.ones(3), np.zeros(3, int)).axes
    assert axes.get_xlim()[0] < 1 < axes.get_xlim()[1]
