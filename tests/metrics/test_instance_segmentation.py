"""Scores of instance maps against cases counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.instance_segmentation import instance_scores


def row(*runs: tuple[int, int]) -> np.ndarray:
    """(1, W) map of runs (label, length)."""
    return np.concatenate([np.full(length, label) for label, length in runs])[None]


def test_a_case_counted_by_hand():
    annotation = row((1, 10), (0, 2), (2, 10), (0, 2), (3, 10))
    prediction = row((7, 8), (0, 4), (9, 4), (0, 6), (0, 2), (0, 10))
    scores = instance_scores(prediction, annotation)
    # 7 meets 1: 8 / 10. 9 meets 2: 4 / 10, below the threshold. Nobody meets 3.
    assert (scores.predicted, scores.annotated, scores.matched) == (2, 3, 1)
    assert scores.f1 == pytest.approx(2 / 5)
    assert scores.precision == pytest.approx(1 / 2)
    assert scores.recall == pytest.approx(1 / 3)
    assert scores.dice == pytest.approx(2 * 12 / (12 + 30))
    assert scores.aji == pytest.approx((8 + 4) / (10 + 10 + 10))


def test_predictions_that_nobody_takes_count_in_the_union():
    scores = instance_scores(row((1, 4), (2, 6), (0, 2), (3, 5)), row((1, 10), (0, 2), (0, 5)))
    assert (scores.matched, scores.f1) == (1, pytest.approx(2 / 4))
    assert scores.aji == pytest.approx(6 / (10 + 4 + 5))


def test_the_same_map_is_perfect_whatever_the_numbers():
    annotation = np.random.default_rng(0).integers(0, 5, (20, 20))
    scores = instance_scores(annotation * 1000, annotation)
    assert (scores.f1, scores.precision, scores.recall, scores.dice, scores.aji) == (1, 1, 1, 1, 1)
    full = instance_scores(np.ones((4, 4), int), np.ones((4, 4), int))  # no background at all
    assert (full.f1, full.aji, full.annotated) == (1, 1, 1)


def test_matches_are_one_to_one_and_as_many_as_can_be():
    """Two annotated halves share one prediction; at a low threshold a second prediction goes to the other half."""
    annotation = row((1, 4), (2, 4))
    assert instance_scores(row((1, 8)), annotation).matched == 1
    assert instance_scores(row((1, 3), (2, 5)), annotation, iou=0.2).matched == 2


def test_empty_maps():
    none, some = np.zeros((3, 3), int), np.eye(3, dtype=int)
    both = instance_scores(none, none)
    assert (both.predicted, both.annotated, both.matched) == (0, 0, 0)
    assert all(math.isnan(value) for value in (both.f1, both.precision, both.recall, both.dice, both.aji))
    missed, invented = instance_scores(none, some), instance_scores(some, none)
    assert (missed.f1, missed.recall, missed.dice, missed.aji) == (0, 0, 0, 0)
    assert (invented.f1, invented.precision, invented.dice, invented.aji) == (0, 0, 0, 0)
    assert math.isnan(missed.precision)
    assert math.isnan(invented.recall)


@pytest.mark.parametrize(
    ("prediction", "annotation", "iou", "told"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), 0.5, r"\(2, 2\) and annotation \(2, 3\)"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), 0.5, "prediction: a label map"),
        (np.zeros((2, 2), int), -np.ones((2, 2), int), 0.5, "annotation: a label map"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), 0.0, "iou must"),
    ],
)
def test_bad_input(prediction, annotation, iou, told):
    with pytest.raises(InputError, match=told):
        instance_scores(prediction, annotation, iou)
