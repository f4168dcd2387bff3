"""Evaluate trained models on new patients, with the scores that their training reports for test folds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.patient_file import PatientModel
from hmgdm_monai.tasks.patients.data import PatientData
from hmgdm_monai.tasks.patients.ensemble import predict_by_ensemble, training_patients
from hmgdm_monai.tasks.patients.targets.build import target_of
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.target import Target
from hmgdm_monai.transforms.tile_graph import TileGraph


def tile_graph_of(models: Sequence[PatientModel]) -> TileGraph | None:
    """Return the tile graph that models were trained with; None if they need none."""
    settings = models[0].about.get("graph")
    return None if settings is None else TileGraph(**settings)


def targets_of(
    models: Sequence[PatientModel],
    target_column: str | None = None,
    time_column: str | None = None,
    event_column: str | None = None,
) -> list[Target]:
    """Return what models predict, as a list of one target.

    Args:
        models: models of one run.
        target_column: column of the new table; None for the name of the training. The same for the next two.
        time_column: column of times.
        event_column: column of events.
    """
    columns = {"target_column": target_column, "time_column": time_column, "event_column": event_column}
    return [target_of(models[0].target, columns)]


class PatientEvaluation:
    """Predictions for patients that no model has seen, in the form of a single fold.

    Several models, the folds of a run, are an ensemble: the prediction is the mean over models, and predictions.csv
    holds the standard deviation between them. :class:`~hmgdm_monai.tasks.patients.report.PatientReport` accepts it in
    place of a :class:`~hmgdm_monai.tasks.patients.cross_validation.PatientCrossValidation`, and scores and draws it in
    the same way. What scores need of the training side (for survival the cut between risk groups and the distribution
    of censoring) is that of the models' training patients.

    Args:
        data: the cohort, with the models' target and tile graph.
        models: models of :func:`~hmgdm_monai.saving.patient_file.load_patient_models`.
        device: device of the networks.
        seed: seed of the bootstrap.
    """

    def __init__(
        self, data: PatientData, models: Sequence[PatientModel], device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        self.data, self.models, self.device, self.seed = data, list(models), device, seed

    def prepare(self) -> None:
        """Read and check everything that can be checked before predicting.

        Patients that a model was trained on are skipped and named.

        Raises:
            InputError: see :meth:`run`.
        """
        _ = self._places

    @cached_property
    def _places(self) -> np.ndarray:
        """Indices of the patients that are new to all models."""
        (target,) = self.data.targets
        seen = training_patients(self.models)
        # Before slides are embedded: what the manifest alone tells.
        self._check_new(self.data.listed_outcomes(target, seen))
        bags = self.data.bags
        places = np.array([place for place, patient in enumerate(bags.patients) if patient.id not in seen], int)
        for patient in bags.patients:
            if patient.id in seen:
                self.data.skipped[f"patient {patient.id}"] = "the model was trained on it"
        self._check_new(self.data.values(target)[places])
        return places

    def _check_new(self, values: np.ndarray) -> None:
        self.data.targets[0].check_side(values, f"{self.data.manifest}, patients that are new to the model")

    def run(self) -> dict[str, dict[str, list[FoldPrediction]]]:
        """Predict for all patients that no model was trained on.

        Raises:
            InputError: there is no such patient, none of them can be scored, or the features come from another encoder.
        """
        bags, places, (target,) = self.data.bags, self._places, self.data.targets
        try:
            predictions = predict_by_ensemble(self.models, target, bags, places, self.device)
        except InputError as error:
            raise InputError(f"{self.data.manifest}: {error}") from error
        number = int(self.models[0].about["fold"]) if len(self.models) == 1 else 0
        ids, values = tuple(bags.patients[place].id for place in places), bags.values(target.name, target.size)[places]
        count = len(training_patients(self.models))
        return {
            target.name: {name: [FoldPrediction(number, ids, values, one, count)] for name, one in predictions.items()}
        }
