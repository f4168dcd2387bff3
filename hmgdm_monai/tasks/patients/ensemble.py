"""Predictions of one trained model, or of the folds of a run as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hmgdm_monai.saving.patient_file import PatientModel
from hmgdm_monai.tasks.patients.bags import PatientBags
from hmgdm_monai.tasks.patients.fold import predict
from hmgdm_monai.tasks.patients.targets.prediction import Prediction
from hmgdm_monai.tasks.patients.targets.target import Target


def training_patients(models: Sequence[PatientModel]) -> set[str]:
    """Return the ids of the patients that any of the models was trained on."""
    return {patient for model in models for patient in model.about["patients"]}


def predict_by_ensemble(
    models: Sequence[PatientModel], target: Target, bags: PatientBags, places: np.ndarray, device: torch.device | str
) -> dict[str, Prediction]:
    """Return the mean prediction of models, by name: that of the aggregator, and with "_calibrated" where there is one.

    Args:
        models: models of one run.
        target: what they predict.
        bags: bags of all patients.
        places: (P,) indices of the patients to predict for.
        device: device of the networks.

    Raises:
        InputError: the features come from another encoder than the models'.
    """
    for model in models:
        model.check_channels(bags.num_features)
    common = target.common_training([model.fitted for model in models], [model.about["patients"] for model in models])
    predictions = []
    for model in models:
        model.network.to(device)
        model.loss.to(device)
        predictions.append(target.predict(model.loss, predict(model, bags, places), model.fitted | common))
    name = str(models[0].settings["aggregator"]["name"])
    found = {name: target.merge(predictions)}
    calibrated = [scaled for one in predictions if (scaled := target.calibrated(one)) is not None]
    if len(calibrated) == len(models):
        found[f"{name}_calibrated"] = target.merge(calibrated)
    return found
