"""Read the predictions.csv of a run, of tiles or of patients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.manifest.table import number_of, read_table
from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.class_scores import ClassOutcome
from hmgdm_monai.metrics.number_scores import NumberOutcome
from hmgdm_monai.metrics.survival import FoldOutcome

PREDICTIONS = "predictions.csv"
OUTCOMES = {"survival": ("time", "event"), "classes": ("label",), "numbers": ("value",)}  # columns by kind of target
_IDENTITY = ("id", "x_px", "y_px", "patient")
_PROBABILITY = "probability_"


@dataclass(frozen=True)
class RunPredictions:
    """Predictions of one model of a run for all its test patients (or tiles), sorted by patient and tile.

    Attributes:
        path: path of the predictions.csv.
        model: name of the model; "" if the table has one model without a name.
        kind: "survival", "classes" or "numbers".
        columns: (N,) cells by column; ``fold`` is "0" everywhere if the table has no folds.
        lines: (N,) line numbers of the CSV.
        ordered: whether the classes are grades, in the order of their columns.
    """

    path: Path
    model: str
    kind: str
    columns: dict[str, np.ndarray]
    lines: np.ndarray
    ordered: bool = False

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """Patient, or image, location and patient of a tile, of each row."""
        return list(zip(*(self.columns[name].tolist() for name in _IDENTITY if name in self.columns), strict=True))

    @property
    def folds(self) -> np.ndarray:
        """Numbers of the folds, sorted."""
        return np.unique(self.numbers("fold"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their columns."""
        return tuple(name.removeprefix(_PROBABILITY) for name in self.columns if name.startswith(_PROBABILITY))

    def numbers(self, column: str) -> np.ndarray:
        """Return a column of numbers, (N,) float64.

        Raises:
            InputError: a cell is not a number.
        """
        values = [number_of(cell) for cell in self.columns[column]]
        for value, line, cell in zip(values, self.lines, self.columns[column], strict=True):
            if value is None:
                raise InputError(f"{self.path} line {line}: {column} must be a number, not {str(cell)[:40]!r}")
        return np.array(values, float)

    def outcomes(self, classes: Sequence[str] = ()) -> list[Any]:
        """Return predictions and outcomes of each fold, in the order of ``folds``.

        The training patients of a fold of survival are those of the other folds.

        Args:
            classes: order of the classes; by default that of the table.

        Raises:
            InputError: a cell is not a number, or a label is not among the classes.
        """
        sides = [(self.numbers("fold") == fold) for fold in self.folds]
        if self.kind == "survival":
            time, event, risk = (self.numbers(name) for name in ("time", "event", "risk"))
            return [FoldOutcome(time[s], event[s], risk[s], time[~s], event[~s]) for s in sides]
        if self.kind == "numbers":
            value, prediction = self.numbers("value"), self.numbers("prediction")
            return [NumberOutcome(value[side], prediction[side]) for side in sides]
        classes = classes or self.classes
        probability = np.stack([self.numbers(_PROBABILITY + name) for name in classes], 1)
        places = {name: place for place, name in enumerate(classes)}
        for line, name in zip(self.lines, self.columns["label"], strict=True):
            if name not in places:
                raise InputError(f"{self.path} line {line}: no column has the probability of class {str(name)!r}")
        label = np.array([places[name] for name in self.columns["label"]], np.int64)
        return [ClassOutcome(label[side], probability[side]) for side in sides]


def read_predictions(run: Path | str, model: str | None = None) -> RunPredictions:
    """Read the predictions of one model of a run.

    Args:
        run: output folder of the run.
        model: name of the model in the column ``model``; None for the first, which is the run's own.

    Raises:
        InputError: the folder has no predictions.csv of ours, the model does not exist, or a row occurs twice.
    """
    path = Path(run) / PREDICTIONS
    if not path.is_file():
        raise InputError(f"{run}: there is no {PREDICTIONS}; give the output folder of a run that has ended")
    table = read_table(path)
    header = table.header
    if ragged := [line for line, cells in table.rows if len(cells) != len(header)]:
        raise InputError(f"{path} line {ragged[0]}: the row does not have {len(header)} cells; run again to write it")
    if not table.rows or "patient" not in header:
        raise InputError(f"{path}: has no rows with a column patient; give the output folder of a run")
    cells = {name: np.array([row[place] for _, row in table.rows]) for place, name in enumerate(header)}
    lines = np.array([line for line, _ in table.rows])
    if "model" in cells:
        names = list(dict.fromkeys(cells["model"].tolist()))
        if model is not None and model not in names:
            raise InputError(f"{path}: no model is called {model!r}; its models are {', '.join(names)}")
        model = names[0] if model is None else model
        chosen = cells["model"] == model
        cells, lines = {name: column[chosen] for name, column in cells.items()}, lines[chosen]
    elif model is not None:
        raise InputError(f"{path}: its one model has no name; leave out {model!r}")
    cells.setdefault("fold", np.full(len(lines), "0"))
    found = RunPredictions(path, model or "", _kind(path, header), cells, lines)
    order = sorted(range(len(lines)), key=found.keys.__getitem__)
    ordered = {name: column[order] for name, column in cells.items()}
    found = RunPredictions(path, found.model, found.kind, ordered, lines[order], _has_grades(path))
    for one, other, line in zip(found.keys, found.keys[1:], found.lines[1:], strict=False):
        if one == other:
            raise InputError(f"{path} line {line}: {describe(one)} occurs twice")
    return found


def describe(key: Sequence[str]) -> str:
    """Return the text for a patient or tile in a message.

    Args:
        key: key of :attr:`RunPredictions.keys`.
    """
    if len(key) == 1:
        return f"patient {key[0]}"
    return f"the tile of {key[0]} at ({', '.join(key[1:-1])}) px of patient {key[-1]}"


def _has_grades(path: Path) -> bool:
    """Whether the report beside a table scores grades."""
    try:
        models = json.loads((path.parent / "metrics.json").read_text())["models"]
        return any("quadratic_kappa" in scores for scores in models.values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False  # a run of tiles, or a table alone: classes without order


def _kind(path: Path, header: Sequence[str]) -> str:
    predicted = {"survival": "risk" in header, "numbers": "prediction" in header}
    predicted["classes"] = any(name.startswith(_PROBABILITY) for name in header)
    for kind, columns in OUTCOMES.items():
        if predicted[kind] and set(columns) <= set(header):
            return kind
    raise InputError(
        f"{path}: columns {', '.join(header[:8])} are not those of survival (time, event, risk), classes (label, "
        "probability_...) or numbers (value, prediction)"
    )
