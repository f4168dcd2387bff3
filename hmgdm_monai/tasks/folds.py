"""Folds of cross-validation: stratified, grouped by patient, each with an inner validation split."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class Fold:
    """Indices of the samples of one fold, each (n,) int64, sorted; no group stands in two of them.

    Attributes:
        train: what a model is fitted to.
        val: what chooses the epoch and other settings.
        test: what the fold reports on; nothing is chosen by it.
        number: of the fold; the manifest's own where it gave folds.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    number: int

    @property
    def development(self) -> np.ndarray:
        """All that is not tested: training and inner validation, sorted."""
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
    """Split samples so that every one is tested once, by a model that never saw its group.

    Test sides are stratified by label as well as whole groups allow, or are the folds that were given. From what is
    left of each, whole groups are held out for validation, stratified likewise.

    Args:
        labels: (N,) class of each sample, of any type that compares; for survival the event, or event and site in one.
        groups: (N,) patient of each sample.
        n_folds: number of folds; fewer where there are not so many groups, or (with ``every_class``) where a class
            stands in fewer groups. Not used where folds are given.
        seed: of the draw.
        given: (N,) fold of each sample, as the manifest has it; None, or nothing but None, to draw.
        val_fraction: share of the groups beside the test side to hold out for validation, about.
        every_class: every training side must hold every class, as a classifier needs; where False, a rare stratum may
            be missing from it.

    Raises:
        InputError: fewer than two classes, a class in one group (or one given fold) alone, too few groups, folds given
            for some samples only, one fold given, or a group in two of them; or a setting out of range.
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
    if given is None or all(fold is None for fold in given):
        sides = _drawn(labels, groups, n_folds, seed, every_class)
    else:
        sides = _given(labels, groups, given, every_class)
    return [
        Fold(*_hold_out(labels, groups, rest, val_fraction, seed, number, every_class), test, number)
        for number, rest, test in sides
    ]


def check_classes(labels: Sequence[object] | np.ndarray, groups: Sequence[str] | np.ndarray) -> None:
    """Check that a classifier can be trained and tested across groups.

    Raises:
        InputError: fewer than two classes, or a class that stands in one group alone.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    classes = np.unique(labels)
    if len(classes) < 2:
        names = ", ".join(map(repr, classes.tolist())) or "none"
        raise InputError(f"labels: classification needs two classes or more; there is {names} alone")
    for name in classes:
        owners = np.unique(groups[labels == name])
        if len(owners) < 2:
            raise InputError(
                f"labels: class {str(name)!r} stands in patient {str(owners[0])!r} alone, so it cannot be both trained "
                "and tested; add patients with it, or merge or remove the class"
            )


Side = tuple[int, np.ndarray, np.ndarray]  # number of the fold, all but its test side, its test side


def _drawn(labels: np.ndarray, groups: np.ndarray, n_folds: int, seed: int, every_class: bool) -> Iterable[Side]:
    usable = min(n_folds, len(np.unique(groups)))
    if every_class:
        usable = min(usable, _rarest(labels, groups))
    # A rare class may fall into one fold whole, though it has groups for more: then another draw is tried.
    for attempt in range(20):
        pairs = _split(labels, groups, usable, seed + 1_000_003 * attempt)
        if not every_class or all(_complete(labels, rest) for rest, _ in pairs):
            return [(number, rest, test) for number, (rest, test) in enumerate(pairs)]
    raise InputError(
        f"folds: found no {usable} folds by patient that leave every class in training; give fewer folds, or a column "
        "'fold' in the manifest"
    )


def _given(labels: np.ndarray, groups: np.ndarray, given: Sequence[int | None], every_class: bool) -> list[Side]:
    missing = sum(fold is None for fold in given)
    if missing:
        raise InputError(
            f"folds: column 'fold' is empty for {missing} of {len(given)} samples; fill in all, or leave it out"
        )
    folds = np.asarray(given, dtype=int)
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise InputError(f"folds: column 'fold' holds {numbers[0]} alone; give two folds or more, or leave it out")
    for group in np.unique(groups):
        if len(there := np.unique(folds[groups == group])) > 1:
            raise InputError(
                f"folds: patient {str(group)!r} stands in folds {', '.join(map(str, there))}; give every patient one"
            )
    for name in np.unique(labels) if every_class else ():
        if len(there := np.unique(folds[labels == name])) < 2:
            raise InputError(
                f"folds: class {str(name)!r} stands in fold {there[0]} alone, so no training set has it; mend the "
                "column 'fold', or leave it out to have folds drawn"
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
    """Training and validation side of what a fold's test leaves.

    Of the splits that one draw offers the one is taken whose validation side holds most classes, and among those the
    one nearest the wanted share.
    """
    here, owners = labels[rest], groups[rest]
    n_groups = len(np.unique(owners))
    if n_groups < 2:
        raise InputError(
            f"folds: fold {number} leaves {n_groups} patient beside its test side, training and validation need two"
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
            f"folds: in fold {number} no patients can be held out for validation without taking a class out of "
            "training; add patients of the rarest class, or give fewer folds"
        )
    return best[1], best[2]


def _split(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    _, codes = np.unique(labels, return_inverse=True)
    # scikit-learn refuses to stratify where no class has as many samples as there are folds: nothing to stratify.
    stratify = np.bincount(codes).max() >= count
    splitter = (StratifiedGroupKFold if stratify else GroupKFold)(count, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # said, and checked, by us
        pairs = list(splitter.split(np.zeros(len(labels)), codes, groups))
    return [(train, test) for train, test in pairs if len(test) and len(train)]


def _rarest(labels: np.ndarray, groups: np.ndarray) -> int:
    """In how many groups the class with the fewest stands."""
    return min(len(np.unique(groups[labels == name])) for name in np.unique(labels))


def _complete(labels: np.ndarray, part: np.ndarray) -> bool:
    return len(np.unique(labels[part])) == len(np.unique(labels))
