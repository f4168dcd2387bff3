"""Whether predicted class probabilities are right as probabilities: Brier score, calibration error."""

from __future__ import annotations

import numpy as np


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


def calibration_error(label: np.ndarray, probability: np.ndarray, num_bins: int = 10) -> float:
    """Compute the expected calibration error (ECE) of the predicted class.

    Patients are sorted into bins of equal width by the probability of their predicted class (the confidence). The ECE
    is the mean over patients of the distance between mean confidence and share of right predictions in their bin (Guo
    et al., On calibration of modern neural networks, ICML 2017, eq. 3). With few patients per bin it is above 0 even
    for a calibrated model.

    Args:
        label: (N,) integers from 0 to K - 1.
        probability: (N, K).
        num_bins: number of bins.
    """
    confidence, predicted = probability.max(1), probability.argmax(1)
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    surplus = np.bincount(bins, confidence - (predicted == label), num_bins)
    return float(np.abs(surplus).sum() / len(label))
