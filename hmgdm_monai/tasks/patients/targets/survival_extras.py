"""What a run of survival reports beside scores: hazard ratios beside clinical columns, calibration at a horizon."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.hazard_ratios import HazardRatios, hazard_ratios, standardize_within
from hmgdm_monai.metrics.survival_calibration import HorizonCalibration, calibrate_at, survival_at
from hmgdm_monai.tasks.patients.clinical import columns_for_ratios
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction

logger = logging.getLogger(__name__)


def report_hazard_ratios(
    folder: Path,
    name: str,
    folds: Sequence[FoldPrediction],
    clinical: Mapping[str, Mapping[str, str]],
    note: str | None,
) -> dict[str, Any]:
    """Compute the hazard ratio of a model's risk beside clinical columns, and draw them: ``forest.png``.

    Patients are the test patients. The risk is per standard deviation within the fold, and the fold is a stratum,
    because risks of different folds have different scales.

    Args:
        folder: output folder.
        name: name of the model.
        folds: its predictions.
        clinical: clinical columns by patient.
        note: note for the figure; None for none.

    Returns:
        For ``each alone``, and if there are clinical columns ``together``, the ratios by column; empty if they cannot
        be estimated, which is logged.
    """
    from hmgdm_monai.visualize.forest import draw_forest
    from hmgdm_monai.visualize.save import save_figure

    path = folder / "forest.png"
    path.unlink(missing_ok=True)
    time, event = np.concatenate([fold.values[:, :2] for fold in folds]).T
    strata = np.concatenate([np.full(len(fold.patients), fold.fold) for fold in folds])
    risk = np.concatenate([fold.prediction.values[:, 0] for fold in folds])
    patients = [patient for fold in folds for patient in fold.patients]
    cells = {column: [clinical[patient][column] for patient in patients] for column in clinical[patients[0]]}
    title = name.replace("_", " ")
    columns = {f"risk of {title}, per SD": standardize_within(risk, strata), **columns_for_ratios(cells, event)}
    try:
        models = {"each alone": _alone(time, event, columns, strata)}
        if len(columns) > 1:
            models["together"] = hazard_ratios(time, event, columns, strata)
    except InputError as error:
        logger.warning("no hazard ratios: %s", error)
        return {}
    if cells:
        text = "Cox models of the test patients; each fold has its own baseline hazard, and its own SD of the risk."
        save_figure(draw_forest(models, f"Hazard ratios: {title}", text, note), path)
    return {label: model.to_json() for label, model in models.items()}


def report_calibration(
    folder: Path, results: Mapping[str, Sequence[FoldPrediction]], horizon: float | None, unit: str, note: str | None
) -> dict[str, Any]:
    """Compare predicted with observed survival at a horizon, and draw it: ``calibration.png``.

    Args:
        folder: output folder.
        results: predictions of each model.
        horizon: time of interest; None for the median time of death.
        unit: unit of time.
        note: note for the figure; None for none.

    Returns:
        For each model ``horizon``, ``predicted``, ``observed``, ``patients`` (by group) and ``ici``; empty if the
        horizon cannot be used, which is logged.
    """
    from hmgdm_monai.visualize.save import save_figure
    from hmgdm_monai.visualize.survival_calibration import draw_survival_calibration

    path = folder / "calibration.png"
    path.unlink(missing_ok=True)
    try:
        found = {name: _calibrated(folds, horizon) for name, folds in results.items()}
    except InputError as error:
        logger.warning("no calibration: %s", error)
        return {}
    save_figure(draw_survival_calibration(found, "Calibration of survival", unit, note), path)
    return {
        name: {
            "horizon": one.horizon,
            "predicted": one.predicted.tolist(),
            "observed": one.observed.tolist(),
            "patients": one.count.tolist(),
            "ici": one.index if np.isfinite(one.index) else None,
        }
        for name, one in found.items()
    }


def _alone(time: np.ndarray, event: np.ndarray, columns: Mapping[str, np.ndarray], strata: np.ndarray) -> HazardRatios:
    """Return the hazard ratio of each column in a model of its own."""
    each = [hazard_ratios(time, event, {name: values}, strata) for name, values in columns.items()]
    ratio, low, high, p = (np.concatenate([getattr(one, key) for one in each]) for key in ("ratio", "low", "high", "p"))
    return replace(each[0], names=tuple(columns), ratio=ratio, low=low, high=high, p=p)


def _calibrated(folds: Sequence[FoldPrediction], horizon: float | None) -> HorizonCalibration:
    time, event = np.concatenate([fold.values[:, :2] for fold in folds]).T
    if horizon is None:
        horizon = float(np.median(time[event == 1]))
    survival = []
    for fold in folds:
        curves = fold.prediction.curves
        if curves is None:
            raise InputError("the model has no survival curves")
        survival.append(survival_at(curves, np.array(fold.prediction.fitted["times"]), horizon))
    return calibrate_at(time, event, np.concatenate(survival), horizon)
