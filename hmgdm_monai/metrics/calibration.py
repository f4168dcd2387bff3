"""Whether predicted class probabilities are right as probabilities, and temperature scaling to make them so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError

_LOG_RANGE = np.log(20.0)  # temperatures from 1 / 20 to 20


@dataclass(frozen=True)
class ReliabilityCurve:
    """Confidence and accuracy in bins of equal width of the confidence (the probability of the predicted class).

    Attributes:
        count: (B,) int64, number of patients of each bin; empty bins are left out.
        confidence: (B,) mean confidence of these patients.
        accuracy: (B,) share of right predictions among them; equals the confidence if the model is calibrated.
    """

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability_curve(label: np.ndarray, probability: np.ndarray, num_bins: int = 10) -> ReliabilityCurve:
    """Compare confidence with accuracy, bin by bin.

    Args:
        label: (N,) integers from 0 to K - 1, N > 0.
        probability: (N, K), rows sum to 1.
        num_bins: number of bins between 0 and 1.
    """
    confidence, predicted = probability.max(1), probability.argmax(1)
    # As in sklearn.calibration.calibration_curve, which gives no counts.
    bins = np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], confidence)
    count = np.bincount(bins, minlength=num_bins)
    there = count > 0
    sums = (np.bincount(bins, values, num_bins)[there] for values in (confidence, predicted == label))
    return ReliabilityCurve(count[there], *(one / count[there] for one in sums))


def calibration_error(label: np.ndarray, probability: np.ndarray, num_bins: int = 10) -> float:
    """Compute the expected calibration error (ECE) of the predicted class.

    It is the mean over patients of the distance between confidence and accuracy of their bin (Guo et al., On
    calibration of modern neural networks, ICML 2017, eq. 3). With few patients per bin it is above 0 even for a
    calibrated model.

    Args:
        label: see :func:`reliability_curve`.
        probability: see :func:`reliability_curve`.
        num_bins: number of bins between 0 and 1.
    """
    curve = reliability_curve(label, probability, num_bins)
    return float(np.average(np.abs(curve.confidence - curve.accuracy), weights=curve.count))


def brier_score(label: np.ndarray, probability: np.ndarray) -> float:
    """Mean over patients of the squared distance between probabilities and the true class.

    It is 0 for a certain and right model and 2 for a certain and wrong one; with two classes it is twice the Brier
    score of one class.

    Args:
        label: (N,) integers from 0 to K - 1.
        probability: (N, K).
    """
    truth = np.eye(probability.shape[1])[label]
    return float(((probability - truth) ** 2).sum(1).mean())


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """Find the temperature T that minimizes the cross entropy of softmax(logits / T).

    Fit it on patients that did not train the model, and apply it with :func:`scaled_probabilities`. It changes no
    predicted class. T > 1 lowers the confidence. T stays between 1 / 20 and 20, as the best T is 0 where all
    predictions are right.

    Args:
        logits: (N, K) logits, or log probabilities.
        label: (N,) integers from 0 to K - 1.

    Returns:
        The temperature.

    Raises:
        InputError: there are no patients, or logits are not finite.

    Example:
        >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]])
        >>> fit_temperature(logits, np.array([0, 0, 1, 0])) > 1  # too confident: one of four is wrong
        True
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = np.asarray(logits, float)
    if len(logits) == 0 or not np.isfinite(logits).all():
        raise InputError("temperature scaling needs finite logits of one patient or more")

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(label)), label]).mean())

    found = minimize_scalar(cross_entropy, bounds=(-_LOG_RANGE, _LOG_RANGE), method="bounded")
    return float(np.exp(found.x))


def scaled_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Compute softmax(logits / temperature), (N, K).

    Args:
        logits: (N, K).
        temperature: temperature of :func:`fit_temperature`; 1 changes nothing.
    """
    from scipy.special import softmax

    return np.asarray(softmax(np.asarray(logits, float) / temperature, axis=1))
