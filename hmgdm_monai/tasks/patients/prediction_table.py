"""predictions.csv of a run of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.target import Target

Results = Mapping[str, Sequence[FoldPrediction]]  # by model


def prediction_table(target: Target, results: Results, confidence: float = 0.9) -> str:
    """Return predictions.csv of one target: one row per model and patient.

    Columns of the spread between models, and of conformal sets or intervals, are there if a model has them.

    Args:
        target: what is predicted.
        results: predictions by model.
        confidence: wanted coverage of conformal sets or intervals.
    """
    rows: list[list[Any]] = []
    more: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []
    for name, folds in results.items():
        for fold in folds:
            count, spread = len(fold.patients), fold.prediction.spread
            found = target.conformal(fold.prediction, confidence)
            sets = [()] * count if found is None else target.conformal_cells(found)
            spreads = [()] * count if spread is None else [tuple(f"{x:.6g}" for x in row) for row in spread]
            outcomes, predictions = target.outcome_cells(fold.values), target.prediction_cells(fold.prediction)
            for patient, one, two in zip(fold.patients, outcomes, predictions, strict=True):
                rows.append([name, patient, fold.fold, *one, *two])
            more += zip(spreads, sets, strict=True)
    header = ["model", "patient", "fold", *target.outcome_columns, *target.prediction_columns]
    for place, columns in enumerate((target.spread_columns, target.conformal_columns)):
        if any(cells[place] for cells in more):
            header += columns
            for row, cells in zip(rows, more, strict=True):
                row += cells[place] or ("",) * len(columns)
    return csv_text([header, *rows])


def joint_table(targets: Sequence[Target], results: Mapping[str, Results]) -> str:
    """Return predictions.csv of several targets: one row per model and patient, columns with the target's name.

    Baselines of different kinds have different names, so each has rows of its own.

    Args:
        targets: the targets.
        results: predictions by target and model.
    """
    header, widths = ["model", "patient", "fold"], []
    rows: dict[tuple[str, str], tuple[int, list[tuple[Any, ...]]]] = {}
    for target in targets:
        columns = (*target.outcome_columns, *target.prediction_columns)
        header += [f"{target.name}_{column}" for column in columns]
        widths.append(len(columns))
    for place, target in enumerate(targets):
        for model, folds in results[target.name].items():
            for patient, (number, cells) in _cells(target, folds).items():
                row = rows.setdefault((model, patient), (number, [("",) * width for width in widths]))
                row[1][place] = cells
    lines = [(*key, number, *(cell for cells in groups for cell in cells)) for key, (number, groups) in rows.items()]
    return csv_text([header, *lines])


def _cells(target: Target, folds: Sequence[FoldPrediction]) -> dict[str, tuple[int, tuple[Any, ...]]]:
    """Return fold and cells of outcome and prediction by patient."""
    found = {}
    for fold in folds:
        outcomes, predictions = target.outcome_cells(fold.values), target.prediction_cells(fold.prediction)
        for patient, one, two in zip(fold.patients, outcomes, predictions, strict=True):
            found[patient] = (fold.fold, (*one, *two))
    return found
