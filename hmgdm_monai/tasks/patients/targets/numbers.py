"""A number of each patient: a score, an expression, an age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.columns import read_columns
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.manifest.patient_cells import patient_cells
from hmgdm_monai.data.manifest.table import number_of
from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.conformal import IntervalOutcome, conformal_intervals, score_intervals
from hmgdm_monai.metrics.number_scores import NumberOutcome, score_numbers
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.prediction import Prediction
from hmgdm_monai.tasks.patients.targets.target import Target, Values

_STRATA = 5  # folds and batches are stratified by quantiles of the number


class NumberTarget(Target):
    """A number. Outcomes are (number,).

    Args:
        column: column of the numbers.
    """

    kind = "numbers"
    scores = {"r2": "R2", "spearman": "Spearman", "mae": "MAE"}
    baseline = "ridge"

    def __init__(self, column: str = "label") -> None:
        self.column = column

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.column

    @property
    def settings(self) -> dict[str, Any]:
        """Kind and column."""
        return {"kind": self.kind, "column": self.column}

    def read(self, path: Path, rows: Sequence[ManifestRow]) -> tuple[Values, dict[str, str]]:
        """Return the number of each patient."""
        cells, faults = patient_cells(rows, read_columns(path, [self.column]), self.column)
        values: Values = {}
        for patient, text in cells.items():
            number = number_of(text)
            if number is None:
                faults[patient] = f"{self.column} must be a number, not {text[:40]!r}"
            else:
                values[patient] = (number,)
        if not values:
            first = next(iter(faults.values()), "the table has no patients")
            raise InputError(f"{path}: no patient has a number in column {self.column!r}; the first {first}")
        return values, faults

    def strata(self, values: np.ndarray) -> np.ndarray:
        """Quantile of the number, 0 to 4; fewer where numbers coincide."""
        edges = np.unique(np.quantile(values[:, 0], np.arange(1, _STRATA) / _STRATA))
        return np.searchsorted(edges, values[:, 0], side="left")

    def check_side(self, values: np.ndarray, where: str) -> None:
        """Two numbers that differ are needed to train, one to test."""
        if not len(values) or ("training" in where and not np.ptp(values[:, 0]) > 0):
            raise InputError(f"{where}: its {len(values)} patients have no different numbers in {self.column!r}")

    def predict_linear(
        self, train: np.ndarray, test: np.ndarray, values: np.ndarray, fitted: Mapping[str, Any], ridge: float
    ) -> Prediction:
        """Ridge regression."""
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=ridge).fit(train, values[:, 0])
        return Prediction(model.predict(test)[:, None], fitted)

    def fit_validation(self, prediction: Prediction, values: np.ndarray) -> dict[str, Any]:
        """Numbers and predictions, for conformal intervals."""
        return {"val_value": values[:, 0].tolist(), "val_prediction": prediction.values[:, 0].tolist()}

    def conformal(self, prediction: Prediction, confidence: float) -> np.ndarray | None:
        """Lower and upper ends (P, 2)."""
        known = prediction.fitted
        if not known.get("val_value"):
            return None
        value, predicted = np.array(known["val_value"]), np.array(known["val_prediction"])
        return conformal_intervals(value, predicted, prediction.values[:, 0], confidence)

    @property
    def conformal_columns(self) -> tuple[str, ...]:
        """Ends of the interval."""
        return ("low", "high")

    def conformal_cells(self, found: np.ndarray) -> list[tuple[Any, ...]]:
        """Ends of the interval."""
        return [(f"{low:.6g}", f"{high:.6g}") for low, high in found]

    def conformal_outcome(self, values: np.ndarray, found: np.ndarray) -> IntervalOutcome:
        """Numbers and intervals."""
        return IntervalOutcome(values[:, 0], found)

    def score_conformal(self, outcome: IntervalOutcome) -> Mapping[str, tuple[float, float]]:
        """Coverage and width."""
        return score_intervals(outcome)

    def outcome(self, values: np.ndarray, prediction: Prediction) -> NumberOutcome:
        """Numbers and predictions."""
        return NumberOutcome(values[:, 0], prediction.values[:, 0])

    def score(self, outcome: NumberOutcome) -> Mapping[str, tuple[float, float]]:
        """R2, rank correlation, mean absolute error."""
        return score_numbers(outcome)

    def count(self, values: np.ndarray) -> dict[str, Any]:
        """Mean and sample standard deviation."""
        sd = float(values[:, 0].std(ddof=1)) if len(values) > 1 else None
        return {"mean": float(values[:, 0].mean()) if len(values) else None, "sd": sd}

    @property
    def convention(self) -> str:
        """The unit."""
        return f"value and prediction are in the unit of column {self.column}"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        """The number."""
        return ("value",)

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """The predicted number."""
        return ("prediction",)

    def outcome_cells(self, values: np.ndarray) -> list[tuple[Any, ...]]:
        """The number."""
        return [(f"{value:g}",) for value in values[:, 0]]

    def prediction_cells(self, prediction: Prediction) -> list[tuple[Any, ...]]:
        """The predicted number."""
        return [(f"{value:.6g}",) for value in prediction.values[:, 0]]

    def draw(self, folder: Path, name: str, first: bool, folds: Sequence[FoldPrediction], note: str | None) -> None:
        """Prediction against number: ``numbers.png``."""
        from hmgdm_monai.visualize.predicted_numbers import draw_predicted_numbers
        from hmgdm_monai.visualize.save import save_figure

        value = np.concatenate([fold.values[:, 0] for fold in folds])
        prediction = np.concatenate([fold.prediction.values[:, 0] for fold in folds])
        fold = np.concatenate([np.full(len(one.values), one.fold) for one in folds])
        title = f"{self.column}: {name.replace('_', ' ')}"
        path = folder / ("numbers.png" if first else f"numbers_{safe_name(name)}.png")
        save_figure(draw_predicted_numbers(value, prediction, fold, title, self.column, note), path)
