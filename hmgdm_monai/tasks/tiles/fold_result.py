"""What a fold of classification leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.tasks.folds import Fold


@dataclass(frozen=True)
class FoldResult:
    """What a fold left.

    Attributes:
        fold: its indices.
        probabilities: (n, K) of its test tiles, in the order of ``fold.test``.
        chosen: what the inner validation chose, by name.
        history: one dictionary of numbers per epoch; empty where there are no epochs.
    """

    fold: Fold
    probabilities: np.ndarray
    chosen: dict[str, float]
    history: list[dict[str, float]]
