"""Quality of superpixels: closed forms, bounds, and what each measure must notice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.superpixel_quality import (
    achievable_segmentation_accuracy,
    boundary_recall,
    superpixel_quality,
    undersegmentation_error,
)

HALVES = np.repeat([0, 1], 10)[None].repeat(20, axis=0)  # (20, 20), border between columns 9 and 10


def halves_at(column: int) -> np.ndarray:
    return (np.arange(20) >= column).astype(int)[None].repeat(20, axis=0)


def test_the_truth_itself_is_perfect() -> None:
    quality = superpixel_quality(HALVES[None], HALVES)
    assert quality == {
        "boundary_recall": 1.0,
        "undersegmentation_error": 0.0,
        "achievable_segmentation_accuracy": 1.0,
    }


@pytest.mark.parametrize(("shift", "recall"), [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.5), (4, 0.0)])
def test_recall_of_a_shifted_border(shift: int, recall: float) -> None:
    """Both columns at the border count, so at a shift of tolerance + 1 one of the two is still near."""
    assert boundary_recall(halves_at(10 + shift), HALVES, tolerance_px=2) == recall


@pytest.mark.parametrize("shift", [1, 3, 5])
def test_area_measures_of_a_shifted_border(shift: int) -> None:
    """The left superpixel bleeds shift columns into the right segment: counted once from each segment."""
    assert achievable_segmentation_accuracy(halves_at(10 + shift), HALVES) == pytest.approx(1 - shift / 20)
    assert undersegmentation_error(halves_at(10 + shift), HALVES) == pytest.approx(2 * shift / 20)


def test_one_superpixel_for_all() -> None:
    one = np.zeros_like(HALVES)
    assert boundary_recall(one, HALVES) == 0.0
    assert achievable_segmentation_accuracy(one, HALVES) == 0.5
    assert undersegmentation_error(one, HALVES) == 1.0
    assert math.isnan(boundary_recall(HALVES, one))


maps = hnp.arrays(np.int32, (8, 9), elements=st.integers(0, 5))


@settings(max_examples=50, deadline=None)
@given(labels=maps, truth=maps, seed=st.integers(0, 100))
def test_names_of_labels_do_not_matter_and_finer_is_never_worse(
    labels: np.ndarray, truth: np.ndarray, seed: int
) -> None:
    names = np.random.default_rng(seed).permutation(1000)[:6] - 500
    renamed = superpixel_quality(names[labels], names[::-1][truth])
    quality = superpixel_quality(labels, truth)
    for key, value in quality.items():
        assert renamed[key] == pytest.approx(value, nan_ok=True)
    finer = superpixel_quality(labels * 6 + truth, truth)
    assert finer["achievable_segmentation_accuracy"] == 1.0
    assert finer["undersegmentation_error"] == 0.0
    assert quality["undersegmentation_error"] >= 0
    assert 0 < quality["achievable_segmentation_accuracy"] <= 1


def test_bad_maps() -> None:
    with pytest.raises(InputError, match="differ in shape"):
        boundary_recall(HALVES, HALVES[:5])
    with pytest.raises(InputError, match="truth must be a map of integers"):
        undersegmentation_error(HALVES, HALVES.astype(float))
    with pytest.raises(InputError, match="label_map"):
        achievable_segmentation_accuracy(HALVES[0], HALVES)
