"""Calibration: errors of known size, known temperatures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.calibration import (
    brier_score,
    calibration_error,
    fit_temperature,
    reliability_curve,
    scaled_probabilities,
)


def simulated(number: int = 20_000, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(number, classes))
    return logits, (logits + rng.gumbel(size=logits.shape)).argmax(1)


def test_brier_and_calibration_error_by_hand() -> None:
    label = np.array([0, 1, 1, 0])
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    assert brier_score(label, probability) == pytest.approx(2 * (0.01 + 0.04 + 0.36 + 0.09) / 4)
    # Confidences 0.9, 0.8, 0.6, 0.7, each in a bin of its own; the third prediction is wrong.
    assert calibration_error(label, probability) == pytest.approx((0.1 + 0.2 + 0.6 + 0.3) / 4)
    # In one bin, the mean confidence is 0.75, and 3 of 4 are right.
    assert calibration_error(label, probability, num_bins=1) == pytest.approx(0.0)


def test_the_curve_is_that_of_scikit_learn() -> None:
    logits, label = simulated(500)
    probability = softmax(1.7 * logits, 1)
    right = probability.argmax(1) == label
    accuracy, confidence = calibration_curve(right, probability.max(1), n_bins=10)
    curve = reliability_curve(label, probability)
    assert curve.accuracy == pytest.approx(accuracy) and curve.confidence == pytest.approx(confidence)
    assert curve.count.sum() == 500


def test_calibrated_data_have_no_calibration_error() -> None:
    logits, label = simulated()
    assert calibration_error(label, softmax(logits, 1)) < 0.01
    assert calibration_error(label, softmax(3 * logits, 1)) > 0.1
    assert brier_score(label, softmax(logits, 1)) < brier_score(label, softmax(3 * logits, 1))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    logits, label = simulated()
    found = fit_temperature(temperature * logits, label)
    assert found == pytest.approx(temperature, rel=0.03)
    scaled = scaled_probabilities(temperature * logits, found)
    assert calibration_error(label, scaled) < 0.015
    assert (scaled.argmax(1) == logits.argmax(1)).all() and np.allclose(scaled.sum(1), 1)


def test_the_temperature_minimizes_the_cross_entropy_and_takes_log_probabilities() -> None:
    logits, label = simulated(200)
    found = fit_temperature(2 * logits, label)

    def cross_entropy(temperature: float) -> float:
        return -np.log(scaled_probabilities(2 * logits, temperature)[np.arange(200), label]).mean()

    assert cross_entropy(found) <= min(cross_entropy(found * 0.98), cross_entropy(found * 1.02))
    assert fit_temperature(np.log(softmax(2 * logits, 1)), label) == pytest.approx(found, rel=1e-4)


def test_separable_and_hopeless_data_stay_within_bounds() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert 1 / 20 <= fit_temperature(logits, np.array([0, 1])) < 1 / 10  # the best is 0
    assert 19 < fit_temperature(logits, np.array([1, 0])) <= 20  # the best is infinite
    for wrong in (logits[:0], logits * np.inf):
        with pytest.raises(InputError, match="finite logits"):
            fit_temperature(wrong, np.zeros(len(wrong), int))
