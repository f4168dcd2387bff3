from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.tiles.fold_result import FoldResult
from hmgdm_monai.tasks.tiles.report import ClassificationReport

LABELS = np.array([0, 1, 0, 1])


def metrics_of(first: list[float], second: list[float]) -> dict:
    """Metrics of two folds of two tiles each, from the probabilities of class 1."""
    data = SimpleNamespace(
        labels=LABELS,
        classes=("benign", "tumor"),
        patients=np.array(["a", "b", "c", "d"]),
        note=None,
        manifest=Path("cohort.csv"),
        pretrained=SimpleNamespace(path=Path("model.pt")),
        cohort=SimpleNamespace(skipped=[]),
    )
    sides = np.array([0, 1]), np.array([2, 3])
    results = []
    for number, (test, shares) in enumerate(zip(sides, (first, second), strict=True)):
        fold = Fold(sides[1 - number], np.array([], int), test, number)
        results.append(FoldResult(fold, np.stack((1 - np.array(shares), shares), 1), {}, []))
    return ClassificationReport("", data, "linear").metrics(results)


def test_the_auc_is_averaged_over_folds_and_never_pooled() -> None:
    """Each model ranks its own tiles rightly, but the scores of one lie all above those of the other."""
    metrics = metrics_of([0.1, 0.2], [0.8, 0.9])  # pooled, the AUC would be 0.75
    assert [fold["macro_auc"] for fold in metrics["folds"]] == [1.0, 1.0]
    assert metrics["over_folds"]["macro_auc"] == {"mean": 1.0, "sd": 0.0}
    assert "macro_auc" not in metrics["overall"]
    json.dumps(metrics, allow_nan=False)


def test_counts_of_all_tiles_and_the_sample_deviation_over_folds() -> None:
    metrics = metrics_of([0.1, 0.2], [0.2, 0.9])
    assert metrics["overall"]["accuracy"] == 0.75
    assert metrics["overall"]["confusion"] == [[2, 0], [1, 1]]
    assert metrics["over_folds"]["accuracy"] == {"mean": 0.75, "sd": pytest.approx(0.5 / np.sqrt(2))}
