"""Folds of labeled tiles, and shares of their groups."""

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
    """Pairs of training and test indices, stratified by class, no group on both sides.

    Raises:
        InputError: fewer than two classes, or a class that stands in one group alone.
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
    """The training indices that belong to a share of their groups; see :func:`some_groups`.

    Args:
        train: indices.
        labels, groups: (N,) of all tiles.
        share: of the groups, up to 1.
        seed: numbers that the draw hangs on.
    """
    if share >= 1:
        return train
    chosen = some_groups(labels[train], groups[train], share, np.random.default_rng(seed))
    return train[np.isin(groups[train], chosen)]


def some_groups(labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Names of ``share`` of the groups, rounded up, drawn so that every class is among their tiles.

    Groups come in random order; first those are taken that bring a class which is not there yet, then the others. So
    with many classes there may be more groups than the share comes to.
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
