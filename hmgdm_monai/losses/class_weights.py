"""Class weights that give all classes equal weight."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def class_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """Weight of each class (K,): N / (K N_k), so that the mean weight over the N labels is 1.

    Args:
        labels: (N,) integers from 0 to K - 1.
        num_classes: number of classes K.

    Raises:
        ValueError: a class has no label, so that no weight can balance it.

    Example:
        >>> class_weights(np.array([0, 0, 0, 1]), 2)
        tensor([0.6667, 2.0000])
    """
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if (counts == 0).any():
        raise ValueError(f"no label of class {int(np.argmin(counts))}: the label counts are {counts.tolist()}")
    return torch.from_numpy(counts.sum() / (num_classes * counts)).float()
