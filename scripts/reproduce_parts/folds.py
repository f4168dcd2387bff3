"""Folds of labeled tiles, and fractions of their groups."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from hmgdm_monai.errors import InputError

FOLDS = 5


def grouped_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of training and test indices, stratified by class; no group is on both sides.

    Raises:
        InputError: there are fewer than two classes, or a class is in only one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min((len(np.unique(groups[labels == c])) for c in np.unique(labels)), default=0)
    if len(np.unique(labels)) < 2 or fewest < 2:
        raise InputError(
            f"scores need two classes or more, each in two groups or more; got {len(np.unique(labels))} classes, the "
            f"rarest in {fewest} groups"
        )
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(labels, labels, groups))


def some_of(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, share: float, *seed: int) -> np.ndarray:
    """Return the training indices of a fraction of their groups; see :func:`some_groups`.

    Args:
        train: indices.
        labels: (N,) class of each tile.
        groups: (N,) group of each tile.
        share: fraction of the groups, up to 1.
        seed: numbers that determine the draw.
    """
    if share >= 1:
        return train
    chosen = some_groups(labels[train], groups[train], share, np.random.default_rng(seed))
    return train[np.isin(groups[train], chosen)]


def some_groups(labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the names of a fraction ``share`` of the groups, rounded up; their tiles contain every class.

    Groups are drawn in random order. First come groups that add a new class, then the others. So with many classes the
    result may be larger than the fraction.
    """
    order = rng.permutation(np.unique(groups))
    taken: list[Any] = []
    missing = set(np.unique(labels))
    for group in order:
        brings = missing & set(labels[groups == group])
        if brings:
            taken.append(group)
            missing -= brings
    wanted = math.ceil(share * len(order))
    rest = [group for group in order if group not in set(taken)]
    return np.array([*taken, *rest[: max(0, wanted - len(taken))]])
