"""The result of one fold of classification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.tasks.folds import Fold


@dataclass(frozen=True)
class FoldResult:
    """The result of one fold.

    Attributes:
        fold: indices of the fold.
        probabilities: (n, K) of its test tiles, in the order of ``fold.test``.
        chosen: settings that the inner validation chose, by name.
        history: one dictionary of numbers per epoch; empty for methods without epochs.
    """

    fold: Fold
    probabilities: np.ndarray
    chosen: dict[str, float]
    history: list[dict[str, float]]
