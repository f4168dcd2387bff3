from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.folds import make_folds


def cohort(seed: int, patients: int = 20, classes: int = 3, tiles: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"p{i:02d}" for i in range(patients)], rng.integers(1, tiles, patients))
    labels = np.array(list("abcdef"))[rng.integers(0, classes, len(groups))]
    return labels, groups


def check_sides(folds, labels, groups):
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(len(labels)))
    for fold in folds:
        sides = [fold.train, fold.val, fold.test]
        assert all(len(side) for side in sides)
        assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(len(labels)))
        owners = [set(groups[side]) for side in sides]
        assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n_folds=st.integers(2, 7), fraction=st.sampled_from([0.1, 0.2, 0.34, 0.5]))
def test_no_patient_is_on_two_sides_and_every_sample_is_tested_once(seed, n_folds, fraction):
    labels, groups = cohort(seed)
    folds = make_folds(labels, groups, n_folds, seed, val_fraction=fraction)
    check_sides(folds, labels, groups)
    for fold in folds:
        assert set(labels[fold.train]) == set(labels)
    again = make_folds(labels, groups, n_folds, seed, val_fraction=fraction)
    assert all(
        np.array_equal(a.test, b.test) and np.array_equal(a.val, b.val) for a, b in zip(folds, again, strict=True)
    )


def test_folds_are_stratified_and_the_seed_draws_them():
    groups = np.array([f"p{i}" for i in range(40)])
    labels = np.repeat(["rare", "common"], [10, 30])
    folds = make_folds(labels, groups, 5)
    assert [np.sum(labels[fold.test] == "rare") for fold in folds] == [2] * 5
    assert all(1 <= np.sum(labels[fold.val] == "rare") <= 2 for fold in folds)
    other = make_folds(labels, groups, 5, seed=1)
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(folds, other, strict=True))


def test_given_folds_are_kept():
    labels, groups = cohort(3)
    mine = {group: 3 * (i % 3) + 1 for i, group in enumerate(np.unique(groups))}  # numbers with gaps
    column = [mine[group] for group in groups]
    folds = make_folds(labels, groups, n_folds=9, given=column)
    assert [fold.number for fold in folds] == [1, 4, 7]
    for fold in folds:
        assert np.array_equal(fold.test, np.flatnonzero(np.array(column) == fold.number))
    check_sides(folds, labels, groups)
    assert [fold.number for fold in make_folds(labels, groups, 4, given=[None] * len(labels))] == [0, 1, 2, 3]


def test_a_rare_class_takes_fewer_folds_and_stays_in_training():
    labels, groups = cohort(5)
    labels = labels.astype("<U4")
    owners = np.unique(groups)[:3]
    for owner in owners:
        labels[np.flatnonzero(groups == owner)[0]] = "rare"
    folds = make_folds(labels, groups, 5)
    assert len(folds) == 3
    assert all("rare" in labels[fold.train] for fold in folds)
    check_sides(folds, labels, groups)


def test_rare_strata_are_let_be_where_training_need_not_hold_every_class():
    groups = np.array([f"p{i}" for i in range(12)])
    strata = np.array(["1-A"] * 5 + ["0-A"] * 6 + ["1-B"])  # event and site in one
    with pytest.raises(InputError, match="only patient 'p11' has class '1-B'"):
        make_folds(strata, groups, 3)
    folds = make_folds(strata, groups, 3, every_class=False)
    check_sides(folds, strata, groups)
    assert all(2 <= np.sum(np.char.startswith(strata[fold.test], "1")) <= 3 for fold in folds)
    check_sides(make_folds(groups, groups, 3, every_class=False), groups, groups)  # a stratum each


def test_bad_input_is_one_line():
    labels, groups = np.array(list("aabbab")), np.array(list("ppqqrr"))
    for told, arguments in {
        "two classes or more; there is only 'a'": {"labels": ["a"] * 6},
        "three patients or more, there are 0": {"labels": [], "groups": []},
        "only patient 'q' has class 'b'": {"labels": list("aabbaa")},
        "patients or more, there are 2": {"groups": list("ppqqqp")},
        "empty for 1 of 6": {"given": [0, 0, 1, 1, 2, None]},
        "column 'fold' contains only 4": {"given": [4] * 6},
        "patient 'p' is in folds 0, 1": {"given": [0, 1, 1, 1, 0, 0]},
        "is only in fold 0": {
            "labels": list("aacbcb"),
            "groups": list("pqrstu"),
            "given": [0, 0, 0, 1, 1, 1],
        },
        "n_folds must be at least 2": {"n_folds": 1},
        "val_fraction must lie between": {"val_fraction": 1.0},
    }.items():
        with pytest.raises(InputError, match=told) as caught:
            make_folds(**{"labels": labels, "groups": groups, **arguments})
        assert "\n" not in str(caught.value)
