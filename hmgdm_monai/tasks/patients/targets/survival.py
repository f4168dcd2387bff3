"""Survival: time and event of each patient, a risk, and a survival curve."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.manifest.outcomes import check_outcomes
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL
from hmgdm_monai.losses.patient_loss import PatientLoss
from hmgdm_monai.metrics.survival import FoldOutcome, follow_up_horizon, score_survival
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.prediction import Prediction, mean_prediction
from hmgdm_monai.tasks.patients.targets.survival_curves import breslow_baseline, survival_curves
from hmgdm_monai.tasks.patients.targets.survival_extras import report_calibration, report_hazard_ratios
from hmgdm_monai.tasks.patients.targets.target import Target, Values

logger = logging.getLogger(__name__)
_GRID = 30  # number of times at which survival curves are stored


class SurvivalTarget(Target):
    """Time to death or to the last observation. Outcomes are (time, event).

    The training side gives the median risk (a higher risk is "high"), Breslow's baseline hazard, the times of the
    curves, and the times and events that the weights of censoring are estimated from.

    Args:
        time_column: column of the times.
        event_column: column of the events; 1 = died, 0 = censored.
        check_event_coding: refuse a column whose coding looks inverted.
        time_label: label of the time axis, with unit.
        calibration_horizon: time at which predicted survival is compared with the observed one; None for the median
            time of death.
    """

    kind = "survival"
    size = 2
    scores = {"harrell_c": "C (Harrell)", "uno_c": "C (Uno)", "auc": "AUC(t)", "integrated_brier": "int. Brier"}
    baseline = "cox"

    def __init__(
        self,
        time_column: str = "time",
        event_column: str = "event",
        check_event_coding: bool = True,
        time_label: str = "months",
        calibration_horizon: float | None = None,
    ) -> None:
        self.time_column, self.event_column = time_column, event_column
        self.check_event_coding, self.time_label = check_event_coding, time_label
        self.calibration_horizon = calibration_horizon

    @property
    def name(self) -> str:
        """Name of the column of events."""
        return self.event_column

    @property
    def settings(self) -> dict[str, Any]:
        """Kind and columns."""
        return {"kind": self.kind, "time_column": self.time_column, "event_column": self.event_column}

    @property
    def names(self) -> Mapping[str, str]:
        """Time and event by the user's names."""
        return {"time": self.time_column, "event": self.event_column}

    @property
    def required(self) -> tuple[str, ...]:
        """Time and event."""
        return ("time", "event")

    def check(self, path: Path) -> None:
        """Check coding and kinds of both columns."""
        check_outcomes(path, self.check_event_coding, self.time_column, self.event_column)

    def read(self, path: Path, rows: Sequence[ManifestRow]) -> tuple[Values, dict[str, str]]:
        """Return time and event of each patient; the manifest has checked them."""
        return {row.patient: (cast(float, row.time), float(cast(int, row.event))) for row in rows}, {}

    def strata(self, values: np.ndarray) -> np.ndarray:
        """Events."""
        return values[:, 1].astype(np.int64)

    def check_cohort(self, path: Path, values: np.ndarray, n_folds: int) -> None:
        """Each fold needs a death."""
        if (died := int(values[:, 1].sum())) < n_folds:
            raise InputError(f"{path}: {died} patients died, too few for {n_folds} folds; set n_folds lower")

    def check_side(self, values: np.ndarray, where: str) -> None:
        """There must be a death."""
        if values[:, 1].sum() == 0:
            raise InputError(f"{where}: no events among its {len(values)} patients; use fewer folds, or other folds")

    def describe_training(self, values: np.ndarray) -> dict[str, Any]:
        """Times of the curves, from the deaths up to the follow-up horizon, and times and events."""
        time, event = values.T
        deaths = time[(event == 1) & (time <= follow_up_horizon(time))]
        times = np.unique(np.quantile(deaths if len(deaths) else time, np.linspace(0, 1, _GRID)))
        return {"times": times.tolist(), "train_time": time.tolist(), "train_event": event.astype(int).tolist()}

    def fit(self, loss: PatientLoss, output: Tensor, values: np.ndarray) -> dict[str, Any]:
        """Median risk and baseline hazard in addition."""
        risk = loss.predict(output).double().cpu().numpy()[:, 0]
        baseline = breslow_baseline(risk, *values.T) if isinstance(loss, CoxLoss) else {}
        return {**self.describe_training(values), "median_risk": float(np.median(risk)), **baseline}

    def predict(self, loss: PatientLoss, output: Tensor, fitted: Mapping[str, Any]) -> Prediction:
        """Risks and survival curves."""
        curves = survival_curves(cast(CoxLoss | DiscreteTimeNLL, loss), output, fitted, np.array(fitted["times"]))
        return Prediction(loss.predict(output).double().cpu().numpy(), fitted, curves)

    def predict_linear(
        self, train: np.ndarray, test: np.ndarray, values: np.ndarray, fitted: Mapping[str, Any], ridge: float
    ) -> Prediction:
        """Cox's model with Efron ties; the penalty is subtracted from the sum of the log likelihood."""
        from sksurv.linear_model import CoxPHSurvivalAnalysis
        from sksurv.util import Surv

        model, times = CoxPHSurvivalAnalysis(alpha=ridge, ties="efron"), np.array(fitted["times"])
        try:
            model.fit(train, Surv.from_arrays(values[:, 1].astype(bool), values[:, 0]))
        except (np.linalg.LinAlgError, ValueError) as error:
            raise InputError(f"the Cox baseline cannot be fitted ({error}); raise ridge above {ridge:g}") from error
        curves = model.predict_survival_function(test)
        first, last = curves[0].domain
        survival = np.stack([np.atleast_1d(curve(np.clip(times, first, last))) for curve in curves])
        survival[:, times < first] = 1.0
        median = float(np.median(model.predict(train)))
        return Prediction(model.predict(test)[:, None], {**fitted, "median_risk": median}, survival)

    def common_training(self, fitted: Sequence[Mapping[str, Any]], patients: Sequence[Sequence[str]]) -> dict[str, Any]:
        """All times of the models' curves, and times and events of the training patients of all models."""
        outcomes: dict[str, tuple[float, int]] = {}
        for one, theirs in zip(fitted, patients, strict=True):
            outcomes |= dict(zip(theirs, zip(one["train_time"], one["train_event"], strict=True), strict=True))
        times = np.unique(np.concatenate([one["times"] for one in fitted]))
        train_time, train_event = zip(*outcomes.values(), strict=True)
        return {"times": times.tolist(), "train_time": list(train_time), "train_event": list(train_event)}

    def merge(self, predictions: list[Prediction]) -> Prediction:
        """Mean risk, with the mean of the models' medians as cut: high means above the cut on average."""
        mean = mean_prediction(predictions)
        median = float(np.mean([one.fitted["median_risk"] for one in predictions]))
        fitted = {**predictions[0].fitted, "median_risk": median}
        return Prediction(mean.values, fitted, mean.curves, mean.spread)

    def outcome(self, values: np.ndarray, prediction: Prediction) -> FoldOutcome:
        """Risks and curves, with the outcomes that censoring is estimated from."""
        fitted = prediction.fitted
        return FoldOutcome(
            values[:, 0],
            values[:, 1].astype(np.int64),
            prediction.values[:, 0],
            np.array(fitted["train_time"], float),
            np.array(fitted["train_event"], np.int64),
            prediction.curves,
            np.array(fitted["times"], float),
        )

    def score(self, outcome: FoldOutcome) -> Mapping[str, tuple[float, float]]:
        """C-indices, AUC(t), Brier score."""
        return score_survival(outcome)

    def count(self, values: np.ndarray) -> dict[str, Any]:
        """Number of deaths."""
        return {"died": int(values[:, 1].sum())}

    @property
    def convention(self) -> str:
        """Coding of events, direction of the risk."""
        return "event: 1 = died, 0 = censored; risk: higher = earlier death; high risk: above the training median"

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        """Time and event."""
        return ("time", "event")

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """Risk and group."""
        return ("risk", "group")

    def outcome_cells(self, values: np.ndarray) -> list[tuple[Any, ...]]:
        """Time and event."""
        return [(f"{time:g}", int(event)) for time, event in values]

    def prediction_cells(self, prediction: Prediction) -> list[tuple[Any, ...]]:
        """Risk and group."""
        groups = ("high" if high else "low" for high in high_risk(prediction))
        return [(f"{risk:.6g}", group) for risk, group in zip(prediction.values[:, 0], groups, strict=True)]

    def summarize(self, folds: Sequence[FoldPrediction]) -> dict[str, Any]:
        """Log-rank test between risk groups, and their sizes."""
        from hmgdm_monai.visualize.kaplan_meier import log_rank_p

        time, event, high = _pooled(folds)
        p = log_rank_p(time, event, high)
        return {"log_rank_p": p, "high_risk": int(high.sum()), "low_risk": int((~high).sum())}

    def draw(self, folder: Path, name: str, first: bool, folds: Sequence[FoldPrediction], note: str | None) -> None:
        """Kaplan-Meier curves of the risk groups: ``km.png``."""
        from hmgdm_monai.visualize.kaplan_meier import draw_kaplan_meier
        from hmgdm_monai.visualize.save import save_figure

        path = folder / ("km.png" if first else f"km_{safe_name(name)}.png")
        time, event, high = _pooled(folds)
        if not has_two_groups(high, name, path, "Kaplan-Meier curves are"):
            return
        pooled = f" ({len(folds)} folds, pooled)" if len(folds) > 1 else ""
        cut = (
            f"Each patient's risk comes from a model that never saw the patient{pooled}. High "
            "risk: above the median of that model's training patients. Ticks: censored. Bands: 95 % intervals."
        )
        title = f"Survival by predicted risk: {name.replace('_', ' ')}"
        save_figure(draw_kaplan_meier(time, event, high, title, self.time_label, cut, note), path)

    def report_run(
        self,
        folder: Path,
        results: Mapping[str, Sequence[FoldPrediction]],
        clinical: Mapping[str, Mapping[str, str]],
        note: str | None,
    ) -> dict[str, Any]:
        """Hazard ratios of the model beside clinical columns, calibration of all models at the horizon."""
        name, folds = next(iter(results.items()))
        return {
            "hazard_ratios": report_hazard_ratios(folder, name, folds, clinical, note),
            "calibration": report_calibration(folder, results, self.calibration_horizon, self.time_label, note),
        }


def high_risk(prediction: Prediction) -> np.ndarray:
    """Whether each risk (P,) is above the median risk of the training patients."""
    return prediction.values[:, 0] > prediction.fitted["median_risk"]


def has_two_groups(high: np.ndarray, name: str, path: Path, what: str) -> bool:
    """Whether both risk groups have patients. If not, say that nothing is drawn, and remove an earlier figure.

    Args:
        high: (P,) whether the risk is high.
        name: name of the model.
        path: path of the figure.
        what: what is not drawn, with its verb.
    """
    if high.any() and not high.all():
        return True
    logger.warning("%s: all patients fall into one risk group; no %s drawn", name, what)
    path.unlink(missing_ok=True)
    return False


def _pooled(folds: Sequence[FoldPrediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, events and risk groups of all test patients."""
    values = np.concatenate([fold.values for fold in folds])
    return values[:, 0], values[:, 1].astype(np.int64), np.concatenate([high_risk(fold.prediction) for fold in folds])
