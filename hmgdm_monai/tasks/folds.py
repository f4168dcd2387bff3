"""Folds of cross-validation: stratified, grouped by patient, each with an inner validation split."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class Fold:
    """Indices of the samples of one fold, each (n,) int64, sorted. No group is in two of the splits.

    Attributes:
        train: samples that the model is fitted to.
        val: samples that choose the epoch and other settings.
        test: samples that the fold reports on; they choose nothing.
        number: number of the fold; the number in the manifest if it contains folds.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    number: int

    @property
    def development(self) -> np.ndarray:
        """All samples that are not tested: training and inner validation, sorted."""
        return np.sort(np.concatenate((np.asarray(self.train, int), np.asarray(self.val, int).reshape(-1))))


def make_folds(
    labels: Sequence[object] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_folds: int = 5,
    seed: int = 0,
    given: Sequence[int | None] | None = None,
    val_fraction: float = 0.2,
    every_class: bool = True,
) -> list[Fold]:
    """Split samples into folds: each sample is tested once, by a model that has not seen its group.

    Test splits are stratified by label, as far as whole groups allow, or they are the given folds. In each fold, whole
    groups of the remaining samples are held out for validation, stratified in the same way.

    Args:
        labels: (N,) class of each sample, of any comparable type; for survival the event, or event and site combined.
        groups: (N,) patient of each sample.
        n_folds: number of folds. It is reduced if there are fewer groups or, with ``every_class``, if a class is in
            fewer groups. Not used if folds are given.
        seed: seed of the draw.
        given: (N,) fold of each sample from the manifest; None, or only None values, to draw folds.
        val_fraction: approximate fraction of the remaining groups to hold out for validation.
        every_class: every training split must contain every class, as a classifier needs. If False, a rare stratum may
            be missing.

    Raises:
        InputError: there are fewer than two classes or too few groups; a class is in only one group or one given fold;
            folds are given for only some samples; only one fold is given; a group is in two folds; or a setting is out
            of range.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    check_folds(labels, groups, n_folds, given, val_fraction, every_class)
    if given is None or all(fold is None for fold in given):
        sides = _drawn(labels, groups, n_folds, seed, every_class)
    else:
        sides = _given(labels, groups, given, every_class)
    return [
        Fold(*_hold_out(labels, groups, rest, val_fraction, seed, number, every_class), test, number)
        for number, rest, test in sides
    ]


def check_folds(
    labels: Sequence[object] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    n_folds: int = 5,
    given: Sequence[int | None] | None = None,
    val_fraction: float = 0.2,
    every_class: bool = True,
) -> None:
    """Check all of :func:`make_folds` that needs no draw; a manifest can be checked by it before images are read.

    Args:
        labels: (N,) class of each sample.
        groups: (N,) patient of each sample.
        n_folds: number of folds.
        given: (N,) fold of each sample from the manifest; None, or only None values, to draw folds.
        val_fraction: fraction of the remaining groups to hold out for validation.
        every_class: every training split must contain every class.

    Raises:
        InputError: see :func:`make_folds`.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    if n_folds < 2:
        raise InputError(f"folds: n_folds must be at least 2, not {n_folds}")
    if not 0.0 < val_fraction < 1.0:
        raise InputError(f"folds: val_fraction must lie between 0 and 1, exclusive, not {val_fraction}")
    n_groups = len(np.unique(groups))
    if n_groups < 3:
        raise InputError(f"folds: training, validation and test need three patients or more, there are {n_groups}")
    if every_class:
        check_classes(labels, groups)
    if given is not None and any(fold is not None for fold in given):
        _given(labels, groups, given, every_class)


def check_classes(labels: Sequence[object] | np.ndarray, groups: Sequence[str] | np.ndarray) -> None:
    """Check that a classifier can be trained and tested on different groups.

    Args:
        labels: (N,) class of each sample.
        groups: (N,) patient of each sample.

    Raises:
        InputError: there are fewer than two classes, or a class is in only one group.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    classes = np.unique(labels)
    if len(classes) < 2:
        names = ", ".join(map(repr, classes.tolist())) or "none"
        raise InputError(f"labels: classification needs two classes or more; there is only {names}")
    for name in classes:
        owners = np.unique(groups[labels == name])
        if len(owners) < 2:
            raise InputError(
                f"labels: only patient {str(owners[0])!r} has class {str(name)!r}, so the class cannot be both trained "
                "and tested; add patients with this class, or merge or remove it"
            )


Side = tuple[int, np.ndarray, np.ndarray]  # number of the fold, indices outside its test split, its test split


def _drawn(labels: np.ndarray, groups: np.ndarray, n_folds: int, seed: int, every_class: bool) -> Iterable[Side]:
    usable = min(n_folds, len(np.unique(groups)))
    if every_class:
        usable = min(usable, _rarest(labels, groups))
    # A rare class may fall into one fold completely although it has groups for more folds: then draw again.
    for attempt in range(20):
        pairs = _split(labels, groups, usable, seed + 1_000_003 * attempt)
        if not every_class or all(_complete(labels, rest) for rest, _ in pairs):
            return [(number, rest, test) for number, (rest, test) in enumerate(pairs)]
    raise InputError(
        f"folds: found no {usable} folds by patient in which every training split has every class; set fewer folds, or "
        "add a column 'fold' to the manifest"
    )


def _given(labels: np.ndarray, groups: np.ndarray, given: Sequence[int | None], every_class: bool) -> list[Side]:
    missing = sum(fold is None for fold in given)
    if missing:
        raise InputError(
            f"folds: column 'fold' is empty for {missing} of {len(given)} samples; fill in all of them, or remove the "
            "column"
        )
    folds = np.asarray(given, dtype=int)
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise InputError(
            f"folds: column 'fold' contains only {numbers[0]}; give two folds or more, or remove the column"
        )
    for group in np.unique(groups):
        if len(there := np.unique(folds[groups == group])) > 1:
            raise InputError(
                f"folds: patient {str(group)!r} is in folds {', '.join(map(str, there))}; give every patient one fold"
            )
    for name in np.unique(labels) if every_class else ():
        if len(there := np.unique(folds[labels == name])) < 2:
            raise InputError(
                f"folds: class {str(name)!r} is only in fold {there[0]}, so no training set has it; correct the "
                "column 'fold', or remove it to draw folds"
            )
    return [(int(n), np.flatnonzero(folds != n), np.flatnonzero(folds == n)) for n in numbers]


def _hold_out(
    labels: np.ndarray,
    groups: np.ndarray,
    rest: np.ndarray,
    val_fraction: float,
    seed: int,
    number: int,
    every_class: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Split the samples that a fold does not test into training and validation.

    Among the splits of one draw, this takes the split whose validation side has most classes; among those, the one
    whose size is nearest to the wanted fraction.
    """
    here, owners = labels[rest], groups[rest]
    n_groups = len(np.unique(owners))
    if n_groups < 2:
        raise InputError(
            f"folds: fold {number} leaves {n_groups} patient outside its test split; training and validation need two"
        )
    count = min(n_groups, max(2, round(1 / val_fraction)))
    best: tuple[tuple[int, float], np.ndarray, np.ndarray] | None = None
    for train, val in _split(here, owners, count, seed):
        if every_class and not _complete(here, train):
            continue
        score = (len(np.unique(here[val])), -abs(len(val) / len(here) - val_fraction))
        if best is None or score > best[0]:
            best = (score, rest[train], rest[val])
    if best is None:
        raise InputError(
            f"folds: in fold {number}, holding out patients for validation always removes a class from training; add "
            "patients of the rarest class, or set fewer folds"
        )
    return best[1], best[2]


def _split(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    _, codes = np.unique(labels, return_inverse=True)
    # scikit-learn refuses to stratify if no class has as many samples as there are folds.
    stratify = np.bincount(codes).max() >= count
    splitter = (StratifiedGroupKFold if stratify else GroupKFold)(count, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # checked above
        pairs = list(splitter.split(np.zeros(len(labels)), codes, groups))
    return [(train, test) for train, test in pairs if len(test) and len(train)]


def _rarest(labels: np.ndarray, groups: np.ndarray) -> int:
    """Return the number of groups of the class that is in the fewest groups."""
    return min(len(np.unique(groups[labels == name])) for name in np.unique(labels))


def _complete(labels: np.ndarray, part: np.ndarray) -> bool:
    return len(np.unique(labels[part])) == len(np.unique(labels))
