"""The interface of targets: all that a run of patients needs to know about what it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.losses.patient_loss import PatientLoss
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.prediction import Prediction, mean_prediction

Values = dict[str, tuple[float, ...]]  # by patient


class Target(ABC):
    """What is predicted for a patient: the columns that hold it, its folds, its predictions and their scores.

    An outcome is V numbers: time and event, the index of a class, or a number. The arrays of outcomes have one row for
    each patient of a split, without gaps.

    Attributes:
        kind: name of the kind, as stored in a model file.
        size: number of numbers V of an outcome.
        scores: heading in the table of the log, by score.
        baseline: what baselines of this target are called: "cox" gives "cox_pca" and others.
        every_class: every training split must contain every stratum.
    """

    kind: ClassVar[str]
    size: ClassVar[int] = 1
    scores: ClassVar[Mapping[str, str]]
    baseline: ClassVar[str]
    every_class: ClassVar[bool] = False

    # Columns

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in reports and folders: that of its column."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Kind and arguments, as stored in a model file."""

    @property
    def names(self) -> Mapping[str, str]:
        """Columns of the table in place of the manifest's own; time and event are not read by default."""
        return {"time": "", "event": ""}

    @property
    def required(self) -> tuple[str, ...]:
        """Columns of the manifest that every patient must have, by the manifest's own names."""
        return ()

    def check(self, path: Path) -> None:  # noqa: B027 - targets may override it
        """Check the whole table, before any row is skipped because of another fault.

        Raises:
            InputError: the outcomes would make training or scoring wrong.
        """

    @abstractmethod
    def read(self, path: Path, rows: Sequence[ManifestRow]) -> tuple[Values, dict[str, str]]:
        """Return the outcomes of the patients, and for each patient without one the reason.

        Args:
            path: path of the manifest.
            rows: rows of the manifest without faults.

        Raises:
            InputError: the column does not exist, or no patient has an outcome.
        """

    # Folds

    @abstractmethod
    def strata(self, values: np.ndarray) -> np.ndarray:
        """Return the stratum (P,) of each patient from outcomes (P, V), for folds and for batches."""

    def check_cohort(self, path: Path, values: np.ndarray, n_folds: int) -> None:  # noqa: B027 - as above
        """Check that folds can be drawn.

        Raises:
            InputError: there are too few outcomes of a kind.
        """

    @abstractmethod
    def check_side(self, values: np.ndarray, where: str) -> None:
        """Check the outcomes of one side of a fold.

        Args:
            values: (P, V) outcomes.
            where: fold and side, for the message: "fold 0 ... test patients".

        Raises:
            InputError: nothing can be learned from it, or scored on it.
        """

    # Predictions

    def describe_training(self, values: np.ndarray) -> dict[str, Any]:
        """Return what scores need of the training side (P, V), as JSON values."""
        return {}

    def fit(self, loss: PatientLoss, output: Tensor, values: np.ndarray) -> dict[str, Any]:
        """Return what predictions and scores need of the training side, as JSON values.

        Args:
            loss: loss of the trained network.
            output: (P, K) outputs for the training side.
            values: (P, V) outcomes of the training side.
        """
        return self.describe_training(values)

    def fit_validation(self, prediction: Prediction, values: np.ndarray) -> dict[str, Any]:
        """Return what calibration needs of inner validation patients, as JSON values.

        Args:
            prediction: predictions for patients that the network was not trained on.
            values: (P, V) their outcomes.
        """
        return {}

    def predict(self, loss: PatientLoss, output: Tensor, fitted: Mapping[str, Any]) -> Prediction:
        """Convert outputs (P, K) to predictions.

        Args:
            loss: loss of the network.
            output: (P, K) outputs.
            fitted: result of :meth:`fit`.
        """
        return Prediction(loss.predict(output).double().cpu().numpy(), fitted)

    def calibrated(self, prediction: Prediction) -> Prediction | None:
        """Return calibrated predictions; None if the target has no calibration, or nothing to fit it to."""
        return None

    def conformal(self, prediction: Prediction, confidence: float) -> np.ndarray | None:
        """Return conformal sets (P, K) or intervals (P, 2) by inner validation patients; None if there are none."""
        return None

    @abstractmethod
    def predict_linear(
        self, train: np.ndarray, test: np.ndarray, values: np.ndarray, fitted: Mapping[str, Any], ridge: float
    ) -> Prediction:
        """Fit a linear model to the training side and predict the test side: the baselines.

        Args:
            train: (Q, F) standardized inputs of the training side.
            test: (P, F) inputs of the test side.
            values: (Q, V) outcomes of the training side.
            fitted: result of :meth:`describe_training`.
            ridge: penalty ridge / 2 * sum of squared coefficients.

        Raises:
            InputError: the model cannot be fitted.
        """

    def common_training(self, fitted: Sequence[Mapping[str, Any]], patients: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Return what the models of an ensemble must share: it replaces the same names in what each was fitted to.

        Args:
            fitted: result of :meth:`fit` of each model.
            patients: training patients of each model.
        """
        return {}

    def merge(self, predictions: list[Prediction]) -> Prediction:
        """Return the prediction of an ensemble: the mean over its models."""
        return mean_prediction(predictions)

    # Scores and report

    @abstractmethod
    def outcome(self, values: np.ndarray, prediction: Prediction) -> Any:
        """Return predictions and outcomes (P, V) of the test patients of a fold, in the form that is scored."""

    @abstractmethod
    def score(self, outcome: Any) -> Mapping[str, tuple[float, float]]:
        """Return value and weight of each score of one fold."""

    @abstractmethod
    def count(self, values: np.ndarray) -> dict[str, Any]:
        """Return what the report says about outcomes (P, V): how many died, how many patients each class has."""

    @property
    @abstractmethod
    def convention(self) -> str:
        """How outcomes and predictions are to be read, for the report."""

    @property
    @abstractmethod
    def outcome_columns(self) -> tuple[str, ...]:
        """Columns of predictions.csv with the outcome."""

    @property
    @abstractmethod
    def prediction_columns(self) -> tuple[str, ...]:
        """Columns of predictions.csv with the prediction."""

    @abstractmethod
    def outcome_cells(self, values: np.ndarray) -> list[tuple[Any, ...]]:
        """Return the cells of ``outcome_columns`` for outcomes (P, V)."""

    @abstractmethod
    def prediction_cells(self, prediction: Prediction) -> list[tuple[Any, ...]]:
        """Return the cells of ``prediction_columns`` for each patient."""

    @property
    def conformal_columns(self) -> tuple[str, ...]:
        """Columns of predictions.csv with conformal sets or intervals."""
        return ()

    def conformal_cells(self, found: np.ndarray) -> list[tuple[Any, ...]]:
        """Return the cells of ``conformal_columns`` for a result of :meth:`conformal`."""
        return []

    def conformal_outcome(self, values: np.ndarray, found: np.ndarray) -> Any:
        """Return a result of :meth:`conformal` with the outcomes (P, V), in the form that is scored."""
        raise NotImplementedError(f"{self.kind} has no conformal prediction")

    def score_conformal(self, outcome: Any) -> Mapping[str, tuple[float, float]]:
        """Return value and weight of each score of conformal sets or intervals of one fold."""
        raise NotImplementedError(f"{self.kind} has no conformal prediction")

    @property
    def spread_columns(self) -> tuple[str, ...]:
        """Columns of predictions.csv with the standard deviation between the models of an ensemble."""
        return ("spread",)

    def summarize(self, folds: Sequence[FoldPrediction]) -> dict[str, Any]:
        """Return what the report says about a model beside its scores."""
        return {}

    @abstractmethod
    def draw(self, folder: Path, name: str, first: bool, folds: Sequence[FoldPrediction], note: str | None) -> None:
        """Draw the figures of a model into a folder.

        Args:
            folder: output folder.
            name: name of the model.
            first: whether it is the model of the run, and no baseline.
            folds: its predictions.
            note: note for figures; None for none.
        """

    def report_run(
        self,
        folder: Path,
        results: Mapping[str, Sequence[FoldPrediction]],
        clinical: Mapping[str, Mapping[str, str]],
        note: str | None,
    ) -> dict[str, Any]:
        """Return what the report says about a run beside its models, and draw its figures.

        Args:
            folder: output folder.
            results: predictions of each model, that of the run first.
            clinical: clinical columns by patient.
            note: note for figures; None for none.
        """
        return {}
