"""The output of a survival run: metrics.json, predictions.csv and Kaplan-Meier curves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.handlers.tracking_database import tell_untracked
from hmgdm_monai.metrics.fold_scores import score_folds
from hmgdm_monai.metrics.survival import METRICS, score_survival
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.patients.cross_validation import FoldPrediction, SurvivalCrossValidation
from hmgdm_monai.tasks.patients.evaluation import SurvivalEvaluation
from hmgdm_monai.tasks.run_folder import write_json

logger = logging.getLogger(__name__)
CONVENTION = "event: 1 = died, 0 = censored; risk: higher = earlier death; high risk: above the training median"
_HEADINGS = {"harrell_c": "C (Harrell)", "uno_c": "C (Uno)", "auc": "AUC(t)", "integrated_brier": "int. Brier"}


class SurvivalReport:
    """Run a cross-validation and write its metrics, predictions and figures.

    Args:
        output_dir: output folder of the run.
        cross_validation: cross-validation to run, or the evaluation of a trained model.
        num_bootstrap: number of bootstrap samples of patients for the intervals.
        time_label: label of the time axis, with unit.
        tracking_uri: tracking URI of MLflow; None for no tracking.
    """

    def __init__(
        self,
        output_dir: Path | str,
        cross_validation: SurvivalCrossValidation | SurvivalEvaluation,
        num_bootstrap: int = 500,
        time_label: str = "months",
        tracking_uri: str | None = None,
    ) -> None:
        self.output_dir, self.cross_validation = Path(output_dir), cross_validation
        self.num_bootstrap, self.time_label, self.tracking_uri = num_bootstrap, time_label, tracking_uri

    @property
    def note(self) -> str | None:
        """Note for figures if the data are the synthetic demo cohort."""
        return synthetic_note(self.cross_validation.data.manifest)

    def run(self) -> dict[str, Any]:
        """Train, test, and write all files, each completely or not at all.

        Returns:
            The content of ``metrics.json``.
        """
        results = self.cross_validation.run()
        metrics = self._metrics(results)
        write_whole(self.output_dir / "predictions.csv", _table(results).encode())
        for number, (name, folds) in enumerate(results.items()):
            self._draw(self.output_dir / ("km.png" if number == 0 else f"km_{safe_name(name)}.png"), name, folds)
        write_json(self.output_dir / "metrics.json", metrics)
        if self.tracking_uri is not None:
            try:
                self._track(metrics)
            # MLflow lets through errors of several libraries, and none of them is worth the run.
            except Exception as error:
                tell_untracked(error)
        for line in summary_table(metrics["models"]):
            logger.info(line)
        logger.info("written to %s: metrics.json, predictions.csv, km.png", self.output_dir)
        return metrics

    def _metrics(self, results: dict[str, list[FoldPrediction]]) -> dict[str, Any]:
        from hmgdm_monai.visualize.kaplan_meier import log_rank_p

        data, seed = self.cross_validation.data, self.cross_validation.seed
        models = {}
        for name, folds in results.items():
            scores = score_folds([fold.outcome for fold in folds], score_survival, self.num_bootstrap, seed)
            time, event, high = _pooled(folds)
            models[name] = {
                **scores,
                "log_rank_p": log_rank_p(time, event, high),
                "high_risk": int(high.sum()),
                "low_risk": int((~high).sum()),
            }
        first = next(iter(results.values()))
        return {
            "data": self.note or str(data.manifest),
            "convention": CONVENTION,
            "cohort": {
                "patients": len(data.patients),
                "died": int(data.bags.events.sum()),
                "slides": sum(len(patient.features) for patient in data.patients),
                "channels": data.bags.num_features,
                "skipped": [{"what": what, "reason": reason} for what, reason in data.skipped.items()],
            },
            "folds": [
                {
                    "fold": fold.fold,
                    "training_patients": len(fold.outcome.train_time),
                    "test_patients": len(fold.patients),
                    "test_died": int(fold.outcome.event.sum()),
                }
                for fold in first
            ],
            "models": models,
        }

    def _draw(self, path: Path, name: str, folds: Sequence[FoldPrediction]) -> None:
        from hmgdm_monai.visualize.kaplan_meier import draw_kaplan_meier
        from hmgdm_monai.visualize.save import save_figure

        time, event, high = _pooled(folds)
        if high.all() or not high.any():
            logger.warning("%s: all patients fall into one risk group; no Kaplan-Meier curves are drawn", name)
            path.unlink(missing_ok=True)
            return
        pooled = f" ({len(folds)} folds, pooled)" if len(folds) > 1 else ""
        cut = (
            f"Each patient's risk comes from a model that never saw the patient{pooled}. High "
            "risk: above the median of that model's training patients. Ticks: censored. Bands: 95 % intervals."
        )
        title = f"Survival by predicted risk: {name.replace('_', ' ')}"
        save_figure(draw_kaplan_meier(time, event, high, title, self.time_label, cut, self.note), path)

    def _track(self, metrics: dict[str, Any]) -> None:
        """Log one MLflow run for each model of the table."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.tracking_uri)
        name = "hmgdm_survival"
        found = client.get_experiment_by_name(name)
        artifacts = str((self.output_dir / "mlflow_artifacts").absolute())
        experiment = found.experiment_id if found else client.create_experiment(name, artifacts)
        for model, scores in metrics["models"].items():
            run = client.create_run(experiment, run_name=model).info.run_id
            for key in METRICS:
                if scores[key]["value"] is not None:
                    client.log_metric(run, key, scores[key]["value"])
            client.log_param(run, "convention", CONVENTION)
            client.set_terminated(run)


def summary_table(models: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of a table: one per model, with metrics and their intervals."""
    lines = [f"{'model':<16}" + "".join(f"{_HEADINGS[name]:>24}" for name in METRICS)]
    for model, scores in models.items():
        lines.append(f"{model:<16}" + "".join(f"{_cell(scores[name]):>24}" for name in METRICS))
    return lines


def _cell(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "-"
    interval = "" if score["low"] is None else f" ({score['low']:.3f} to {score['high']:.3f})"
    return f"{score['value']:.3f}{interval}"


def _pooled(folds: Sequence[FoldPrediction]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, events and risk groups of all test patients."""
    return (
        np.concatenate([fold.outcome.time for fold in folds]),
        np.concatenate([fold.outcome.event for fold in folds]),
        np.concatenate([fold.high for fold in folds]),
    )


def _table(results: dict[str, list[FoldPrediction]]) -> str:
    rows: list[Sequence[Any]] = [("model", "patient", "fold", "time", "event", "risk", "group")]
    for name, folds in results.items():
        for fold in folds:
            outcome = fold.outcome
            for row in zip(fold.patients, outcome.time, outcome.event, fold.risk, fold.high, strict=True):
                patient, time, event, risk, high = row
                group = "high" if high else "low"
                rows.append((name, patient, fold.fold, f"{time:g}", int(event), f"{risk:.6g}", group))
    return csv_text(rows)
