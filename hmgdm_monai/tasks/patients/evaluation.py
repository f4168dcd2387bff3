"""Evaluate a trained survival model on new data, with the metrics that its training reports for test folds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival import FoldOutcome
from hmgdm_monai.saving.survival_file import SurvivalModel
from hmgdm_monai.tasks.patients.cross_validation import FoldPrediction
from hmgdm_monai.tasks.patients.data import SurvivalData
from hmgdm_monai.tasks.patients.fold import predict
from hmgdm_monai.transforms.tile_graph import TileGraph


def tile_graph_of(model: SurvivalModel) -> TileGraph | None:
    """Return the tile graph that a model was trained with; None if it needs none."""
    settings = model.about.get("graph")
    return None if settings is None else TileGraph(**settings)


class SurvivalEvaluation:
    """Predictions for patients that a model has not seen, in the form of a single fold.

    :class:`~hmgdm_monai.tasks.patients.report.SurvivalReport` accepts it in place of a
    :class:`~hmgdm_monai.tasks.patients.cross_validation.SurvivalCrossValidation`, and scores and draws it in the same
    way. High risk means above the median risk of the model's training patients. Uno's C and the Brier score correct for
    the censoring of the training patients.

    Args:
        data: the cohort, with the model's tile graph.
        model: model of :func:`~hmgdm_monai.saving.survival_file.load_survival_model`.
        device: device of the network.
        seed: seed of the bootstrap.
    """

    def __init__(
        self, data: SurvivalData, model: SurvivalModel, device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        self.data, self.model, self.device, self.seed = data, model, device, seed

    def prepare(self) -> None:
        """Read and check everything that can be checked before predicting.

        Patients that the model was trained on are skipped and named.

        Raises:
            InputError: see :meth:`run`.
        """
        _ = self._places

    @cached_property
    def _places(self) -> np.ndarray:
        """Indices of the patients that are new to the model."""
        about = self.model.about
        if "train_time" not in about:
            raise InputError("the survival model lacks its training outcomes; train it again with survival.json")
        # Before slides are embedded: what the manifest alone tells.
        new = {row.patient: row.event for row in self.data.cohort.rows if row.patient not in set(about["patients"])}
        self._check_new(list(new.values()))
        bags = self.data.bags
        channels = int(self.model.network.standardizer.mean.numel())
        if bags.num_features != channels:
            raise InputError(
                f"{self.data.manifest}: features have {bags.num_features} channels, but the model needs {channels}; "
                "give features of the same encoder"
            )
        seen = set(about["patients"])
        places = np.array([place for place, patient in enumerate(bags.patients) if patient.id not in seen], int)
        for patient in bags.patients:
            if patient.id in seen:
                self.data.skipped[f"patient {patient.id}"] = "the model was trained on it"
        self._check_new(bags.events[places].tolist())
        return places

    def _check_new(self, events: Sequence[int | None]) -> None:
        """Raise if no patient that is new to the model died; ``events`` are those of the new patients."""
        if not any(events):
            raise InputError(
                f"{self.data.manifest}: {len(events)} patients are new to the model and none of them died, so there is "
                "no score; add patients"
            )

    def run(self) -> dict[str, list[FoldPrediction]]:
        """Predict for all patients that the model was not trained on.

        Raises:
            InputError: there is no such patient, none of them died, the features come from another encoder, or the
                model was written by an earlier version and does not contain its training outcomes.
        """
        bags, about, places = self.data.bags, self.model.about, self._places
        self.model.network.to(self.device)
        self.model.loss.to(self.device)
        output = predict(self.model, bags, places)
        risk = self.model.loss.risk(output).double().cpu().numpy()
        times = np.array(about["times"])
        outcome = FoldOutcome(
            bags.times[places],
            bags.events[places],
            risk,
            np.array(about["train_time"]),
            np.array(about["train_event"]),
            self.model.survival(output, times),
            times,
        )
        ids = tuple(bags.patients[place].id for place in places)
        median = self.model.median_risk
        found = FoldPrediction(int(about["fold"]), ids, risk, risk > median, median, outcome)
        return {str(self.model.settings["aggregator"]["name"]): [found]}
