"""How unsure a classifier is of its tiles."""

from __future__ import annotations

import numpy as np

from hmgdm_monai.errors import InputError

MEASURES = ("entropy", "margin")


def uncertainty(probabilities: np.ndarray, measure: str = "entropy") -> np.ndarray:
    """Uncertainty (N,) of class probabilities (N, K), 0 (sure of one class) to 1 (all classes alike).

    "entropy" is the entropy of the classes over that of K equal ones; "margin" is 1 minus the difference of the two
    most probable classes (Settles, Active Learning Literature Survey, 2009).

    Raises:
        InputError: an unknown measure.
    """
    if measure not in MEASURES:
        raise InputError(f"uncertainty has no measure {measure!r}; choose one of {', '.join(MEASURES)}")
    p = np.asarray(probabilities, np.float64)
    if p.shape[1] == 1:
        return np.zeros(len(p))
    if measure == "margin":
        top = np.sort(p, axis=1)
        return 1 - (top[:, -1] - top[:, -2])
    entropy = -(p * np.log(np.maximum(p, np.finfo(float).tiny))).sum(1)
    return np.clip(entropy / np.log(p.shape[1]), 0.0, 1.0)
