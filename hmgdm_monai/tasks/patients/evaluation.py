"""A trained survival model on new data: the measures of its training's test folds, on a manifest of its own."""

from __future__ import annotations

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
    """The tile graph that a model was trained on; None for one that needs none."""
    settings = model.about.get("graph")
    return None if settings is None else TileGraph(**settings)


class SurvivalEvaluation:
    """Predictions for patients that a model has not seen, in the form of a single fold.

    It stands in for :class:`~hmgdm_monai.tasks.patients.cross_validation.SurvivalCrossValidation` in
    :class:`~hmgdm_monai.tasks.patients.report.SurvivalReport`, which scores and draws it likewise. High risk is above
    the median of the model's training patients, and the censoring that Uno's C and the Brier score correct for is
    theirs.

    Args:
        data: the cohort, with the model's tile graph.
        model: of :func:`~hmgdm_monai.saving.survival_file.load_survival_model`.
        device: of the network.
        seed: of the bootstrap.
    """

    def __init__(
        self, data: SurvivalData, model: SurvivalModel, device: torch.device | str = "cpu", seed: int = 0
    ) -> None:
        self.data, self.model, self.device, self.seed = data, model, device, seed

    def prepare(self) -> None:
        """Read and check all that can be before predicting; patients known to the model are left out, and named.

        Raises:
            InputError: see :meth:`run`.
        """
        _ = self._places

    @cached_property
    def _places(self) -> np.ndarray:
        """Places of the patients that are new to the model."""
        bags, about = self.data.bags, self.model.about
        if "train_time" not in about:
            raise InputError("the survival model does not hold its training outcomes; train it again by survival.json")
        channels = int(self.model.network.standardizer.mean.numel())
        if bags.num_features != channels:
            raise InputError(
                f"{self.data.manifest}: features have {bags.num_features} channels, the model knows {channels}; "
                "give features of the same encoder"
            )
        seen = set(about["patients"])
        places = np.array([place for place, patient in enumerate(bags.patients) if patient.id not in seen], int)
        for patient in bags.patients:
            if patient.id in seen:
                self.data.skipped[f"patient {patient.id}"] = "the model was trained on it"
        if not len(places) or not bags.events[places].any():
            raise InputError(
                f"{self.data.manifest}: {len(places)} patients are new to the model and nobody of them died: no score"
            )
        return places

    def run(self) -> dict[str, list[FoldPrediction]]:
        """Predict for all patients that the model was not trained on.

        Raises:
            InputError: nobody is left, nobody of them died, the features are another encoder's, or the model is of an
                earlier version and does not hold its training outcomes.
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
