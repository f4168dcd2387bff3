"""Calibration: errors of known size."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.metrics.calibration import brier_score, calibration_error


def test_brier_and_calibration_error_by_hand() -> None:
    label = np.array([0, 1, 1, 0])
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    assert brier_score(label, probability) == pytest.approx(2 * (0.01 + 0.04 + 0.36 + 0.09) / 4)
    # Confidences 0.9, 0.8, 0.6, 0.7, each in a bin of its own; the third prediction is wrong.
    assert calibration_error(label, probability) == pytest.approx((0.1 + 0.2 + 0.6 + 0.3) / 4)
    # In one bin, the mean confidence is 0.75, and 3 of 4 are right.
    assert calibration_error(label, probability, num_bins=1) == pytest.approx(0.0)
