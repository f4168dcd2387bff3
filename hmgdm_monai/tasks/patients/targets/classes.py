"""A class of each patient (mutation, response, grade), as probabilities."""

from __future__ import annotations

from collections import Counter
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
from hmgdm_monai.metrics.calibration import fit_temperature, reliability_curve, scaled_probabilities
from hmgdm_monai.metrics.class_scores import ClassOutcome, score_classes, score_grades
from hmgdm_monai.metrics.conformal import SetOutcome, conformal_sets, score_sets
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.prediction import Prediction
from hmgdm_monai.tasks.patients.targets.target import Target, Values


class ClassTarget(Target):
    """One of K classes. Outcomes are (index of the class,).

    Args:
        column: column of the class names.
        classes: the classes; None takes all that the column contains, sorted. Patients of another class are left out
            and named.

    Raises:
        InputError: fewer than two classes are given, or one of them twice.
    """

    kind = "classes"
    scores = {
        "auc": "AUC",
        "balanced_accuracy": "bal. accuracy",
        "macro_f1": "macro F1",
        "average_precision": "avg. precision",
        "brier": "Brier",
        "ece": "ECE",
    }
    baseline = "logistic"
    every_class = True

    def __init__(self, column: str = "label", classes: Sequence[Any] | None = None) -> None:
        self.column = column
        self.given = None if classes is None else tuple(_class_name(str(name)) for name in classes)
        if self.given is not None and (len(self.given) < 2 or len(set(self.given)) < len(self.given)):
            raise InputError(f"classes must be two names or more, each once, not {', '.join(self.given) or 'none'}")
        self._found: tuple[str, ...] | None = self.given

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.column

    @property
    def settings(self) -> dict[str, Any]:
        """Kind, column and classes."""
        return {"kind": self.kind, "column": self.column, "classes": list(self.classes)}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of their indices; known when the column has been read."""
        if self._found is None:
            raise ValueError(f"the classes of {self.column!r} are known when the column has been read")
        return self._found

    def read(self, path: Path, rows: Sequence[ManifestRow]) -> tuple[Values, dict[str, str]]:
        """Return the index of each patient's class."""
        cells, faults = patient_cells(rows, read_columns(path, [self.column]), self.column)
        names = {patient: _class_name(text) for patient, text in cells.items()}
        if not names:
            raise InputError(f"{path}: column {self.column!r} is empty for every patient; fill it in")
        found = self.given or self._in_order(path, sorted(set(names.values())))
        known = {name: float(index) for index, name in enumerate(found)}
        values: Values = {patient: (known[name],) for patient, name in names.items() if name in known}
        faults |= {
            patient: f"{self.column} is {name!r}, none of the classes {', '.join(found)}"
            for patient, name in names.items()
            if name not in known
        }
        if not values:
            raise InputError(f"{path}: no patient has one of the classes {', '.join(found)} in column {self.column!r}")
        self._found = found
        return values, faults

    def _in_order(self, path: Path, names: list[str]) -> tuple[str, ...]:
        """Return the classes of the column in their order; numbers by size."""
        numbers = [number_of(name) for name in names]
        if all(number is not None for number in numbers):
            return tuple(sorted(names, key=float))
        return tuple(names)

    def strata(self, values: np.ndarray) -> np.ndarray:
        """Index of the class."""
        return values[:, 0].astype(np.int64)

    def check_side(self, values: np.ndarray, where: str) -> None:
        """A training side needs every class, a test side a patient."""
        there = set(self.strata(values).tolist())
        missing = [name for index, name in enumerate(self.classes) if index not in there]
        if "training" in where and missing:
            raise InputError(
                f"{where}: no patient of class {', '.join(missing)} in column {self.column!r}; use fewer folds, or "
                "leave the class out with the setting classes"
            )
        if not there:
            raise InputError(f"{where}: no patient has a {self.column}; use fewer folds")

    def predict_linear(
        self, train: np.ndarray, test: np.ndarray, values: np.ndarray, fitted: Mapping[str, Any], ridge: float
    ) -> Prediction:
        """Logistic regression, all classes with equal weight."""
        from sklearn.linear_model import LogisticRegression

        label = self.strata(values)
        if len(np.unique(label)) < 2:
            raise InputError(
                f"the logistic baseline cannot be fitted: its {len(label)} training patients have one class in column "
                f"{self.column!r}; leave it out of baselines"
            )
        model = LogisticRegression(C=1 / ridge, class_weight="balanced", max_iter=1000).fit(train, label)
        probability = np.zeros((len(test), len(self.classes)))
        probability[:, model.classes_] = model.predict_proba(test)
        return Prediction(probability, fitted)

    def fit_validation(self, prediction: Prediction, values: np.ndarray) -> dict[str, Any]:
        """Temperature, and classes and probabilities for conformal sets."""
        label = self.strata(values)
        return {
            "temperature": fit_temperature(_logits(prediction.values), label),
            "val_label": label.tolist(),
            "val_probability": prediction.values.tolist(),
        }

    def calibrated(self, prediction: Prediction) -> Prediction | None:
        """Probabilities by temperature scaling."""
        if "temperature" not in prediction.fitted:
            return None
        return Prediction(scaled_probabilities(_logits(prediction.values), prediction.fitted["temperature"]))

    def conformal(self, prediction: Prediction, confidence: float) -> np.ndarray | None:
        """Sets of classes (P, K), of the probabilities before temperature scaling."""
        known = prediction.fitted
        if not known.get("val_label"):
            return None
        label, probability = np.array(known["val_label"]), np.array(known["val_probability"])
        return conformal_sets(label, probability, prediction.values, confidence)

    @property
    def conformal_columns(self) -> tuple[str, ...]:
        """Classes of the set."""
        return ("set",)

    def conformal_cells(self, found: np.ndarray) -> list[tuple[Any, ...]]:
        """Names of the classes, separated by semicolons."""
        return [(";".join(name for name, there in zip(self.classes, row, strict=True) if there),) for row in found]

    def conformal_outcome(self, values: np.ndarray, found: np.ndarray) -> SetOutcome:
        """Classes and sets."""
        return SetOutcome(self.strata(values), found)

    def score_conformal(self, outcome: SetOutcome) -> Mapping[str, tuple[float, float]]:
        """Coverage, size of the sets, share and accuracy of sets of one class."""
        return score_sets(outcome)

    def outcome(self, values: np.ndarray, prediction: Prediction) -> ClassOutcome:
        """Classes and probabilities."""
        return ClassOutcome(self.strata(values), prediction.values)

    def score(self, outcome: ClassOutcome) -> Mapping[str, tuple[float, float]]:
        """AUC of each class against the rest, balanced accuracy, and others."""
        return score_classes(outcome)

    def count(self, values: np.ndarray) -> dict[str, Any]:
        """Number of patients of each class."""
        counts = Counter(self.strata(values).tolist())
        return {"classes": {name: counts[index] for index, name in enumerate(self.classes)}}

    @property
    def convention(self) -> str:
        """The classes."""
        return f"{self.column}: {', '.join(self.classes)}; predicted: the most probable class"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        """The class."""
        return ("label",)

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """Most probable class and probabilities."""
        return ("predicted", *(f"probability_{name}" for name in self.classes))

    @property
    def spread_columns(self) -> tuple[str, ...]:
        """One for each class."""
        return tuple(f"spread_{name}" for name in self.classes)

    def outcome_cells(self, values: np.ndarray) -> list[tuple[Any, ...]]:
        """Name of the class."""
        return [(self.classes[index],) for index in self.strata(values)]

    def prediction_cells(self, prediction: Prediction) -> list[tuple[Any, ...]]:
        """Most probable class and probabilities."""
        return [(self.classes[int(row.argmax())], *(f"{value:.6f}" for value in row)) for row in prediction.values]

    def draw(self, folder: Path, name: str, first: bool, folds: Sequence[FoldPrediction], note: str | None) -> None:
        """Confusion matrix: ``confusion.png``."""
        from sklearn.metrics import confusion_matrix

        from hmgdm_monai.visualize.confusion import draw_confusion
        from hmgdm_monai.visualize.save import save_figure

        labels = np.concatenate([self.strata(fold.values) for fold in folds])
        predicted = np.concatenate([fold.prediction.values.argmax(1) for fold in folds])
        counts = confusion_matrix(labels, predicted, labels=range(len(self.classes)))
        title = f"{self.column}: {name.replace('_', ' ')}"
        path = folder / ("confusion.png" if first else f"confusion_{safe_name(name)}.png")
        save_figure(draw_confusion(counts, self.classes, title, note, unit="patient"), path)

    def report_run(
        self,
        folder: Path,
        results: Mapping[str, Sequence[FoldPrediction]],
        clinical: Mapping[str, Mapping[str, str]],
        note: str | None,
    ) -> dict[str, Any]:
        """Reliability of the models: ``calibration.png``."""
        from hmgdm_monai.visualize.calibration import draw_calibration
        from hmgdm_monai.visualize.save import save_figure

        curves = {
            name.replace("_", " "): reliability_curve(
                np.concatenate([self.strata(fold.values) for fold in folds]),
                np.concatenate([fold.prediction.values for fold in folds]),
            )
            for name, folds in results.items()
        }
        save_figure(draw_calibration(curves, f"{self.column}: calibration", note), folder / "calibration.png")
        return {}


class GradeTarget(ClassTarget):
    """One of K classes in order. Outcomes are (index of the grade,).

    Args:
        column: column of the grades.
        classes: the grades from lowest to highest; None takes those of the column if they are numbers.

    Raises:
        InputError: fewer than two grades are given, or one of them twice.
    """

    kind = "grades"
    scores = {**ClassTarget.scores, "quadratic_kappa": "quadratic kappa"}

    def _in_order(self, path: Path, names: list[str]) -> tuple[str, ...]:
        if any(number_of(name) is None for name in names):
            raise InputError(
                f"{path}: the order of {', '.join(names[:6])} in column {self.column!r} is not known; give the setting "
                "classes, from the lowest grade to the highest"
            )
        return super()._in_order(path, names)

    def score(self, outcome: ClassOutcome) -> Mapping[str, tuple[float, float]]:
        """Those of classes, and the quadratic weighted kappa."""
        return score_grades(outcome)


def _logits(probability: np.ndarray) -> np.ndarray:
    """Return logits (P, K) of probabilities: their logarithms, also for grades, whose outputs are none."""
    return np.log(np.clip(probability, 1e-12, None))


def _class_name(text: str) -> str:
    """Return the name of a class: "2.0", which spreadsheets write in columns with empty cells, is "2"."""
    number = number_of(text)
    return text if number is None or number != int(number) else str(int(number))
