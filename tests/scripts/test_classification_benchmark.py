from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_parts.classification import BENIGN, cancer_auc, table

from hmgdm_monai.data.files.csv_text import csv_text


def predictions(path: Path, rows: list[tuple[int, str, float]]) -> Path:
    """A predictions.csv of (fold, label, probability of the benign class)."""
    path.write_text(csv_text([("fold", "label", f"probability_{BENIGN}"), *rows]))
    return path


def test_the_auc_of_cancer_is_averaged_over_folds_that_hold_both_sides(tmp_path: Path) -> None:
    """Both models rank rightly, but the benign tile of one scores below the cancer of the other."""
    rows = [(0, BENIGN, 0.2), (0, "cancer", 0.1), (1, BENIGN, 0.9), (1, "cancer", 0.8), (2, "cancer", 0.99)]
    assert cancer_auc(predictions(tmp_path / "a.csv", rows)) == 1.0
    with pytest.raises(ValueError, match="no fold holds both"):
        cancer_auc(predictions(tmp_path / "b.csv", rows[-1:]))


def test_the_table_takes_the_macro_auc_from_the_folds() -> None:
    overall = dict.fromkeys(("balanced_accuracy", "cancer_auc", "macro_f1", "accuracy"), 0.5)
    runs = [{"overall": overall, "over_folds": {"macro_auc": {"mean": mean}}} for mean in (0.7, 0.9)]
    assert "| 0.800 (0.700 to 0.900) |" in table({"linear": runs})
