"""The output of a run of patients: metrics.json, predictions.csv and figures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.handlers.tracking_database import tell_untracked
from hmgdm_monai.metrics.fold_scores import score_folds
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.patients.calibration import conformal_summary
from hmgdm_monai.tasks.patients.cross_validation import PatientCrossValidation, Results
from hmgdm_monai.tasks.patients.evaluation import PatientEvaluation
from hmgdm_monai.tasks.patients.extremes import write_tile_extremes
from hmgdm_monai.tasks.patients.prediction_table import joint_table, prediction_table
from hmgdm_monai.tasks.patients.targets.target import Target
from hmgdm_monai.tasks.run_folder import write_json

logger = logging.getLogger(__name__)


class PatientReport:
    """Run a cross-validation and write its metrics, predictions and figures.

    Several targets have a folder each, with the files of a run of one target; ``metrics.json`` of the run then holds
    those of each target by name, and ``predictions.csv`` has the columns of all targets.

    Args:
        output_dir: output folder of the run.
        cross_validation: cross-validation to run, or the evaluation of a trained model.
        num_bootstrap: number of bootstrap samples of patients for the intervals.
        tracking_uri: tracking URI of MLflow; None for no tracking.
        confidence: wanted coverage of conformal sets and intervals, which need inner validation patients.
    """

    def __init__(
        self,
        output_dir: Path | str,
        cross_validation: PatientCrossValidation | PatientEvaluation,
        num_bootstrap: int = 500,
        tracking_uri: str | None = None,
        confidence: float = 0.9,
    ) -> None:
        self.output_dir, self.cross_validation = Path(output_dir), cross_validation
        self.num_bootstrap, self.tracking_uri, self.confidence = num_bootstrap, tracking_uri, confidence

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
        targets = self.cross_validation.data.targets
        if len(targets) == 1:
            return self._write(self.output_dir, targets[0], results[targets[0].name])
        metrics = {
            target.name: self._write(self.output_dir / safe_name(target.name), target, results[target.name])
            for target in targets
        }
        write_whole(self.output_dir / "predictions.csv", joint_table(targets, results).encode())
        content = {"data": self.note or str(self.cross_validation.data.manifest), "targets": metrics}
        write_json(self.output_dir / "metrics.json", content)
        return content

    def _write(self, folder: Path, target: Target, results: Results) -> dict[str, Any]:
        """Write the files of one target, and return its metrics."""
        metrics = self._metrics(target, results)
        write_whole(folder / "predictions.csv", prediction_table(target, results, self.confidence).encode())
        for number, (name, folds) in enumerate(results.items()):
            target.draw(folder, name, number == 0, folds, self.note)
        data = self.cross_validation.data
        clinical = {one.id: {name: one.columns[name] for name in data.clinical_columns} for one in data.patients}
        metrics |= target.report_run(folder, results, clinical, self.note)
        write_tile_extremes(self.cross_validation, target, folder / "extremes.png", self.note)
        write_json(folder / "metrics.json", metrics)
        if self.tracking_uri is not None:
            try:
                self._track(target, metrics)
            # MLflow lets through errors of several libraries, and none of them is worth the run.
            except Exception as error:
                tell_untracked(error)
        for line in summary_table(target, metrics["models"]):
            logger.info(line)
        logger.info("written to %s: metrics.json, predictions.csv and figures", folder)
        return metrics

    def _metrics(self, target: Target, results: Results) -> dict[str, Any]:
        data, seed = self.cross_validation.data, self.cross_validation.seed
        models = {}
        for name, folds in results.items():
            outcomes = [target.outcome(fold.values, fold.prediction) for fold in folds]
            models[name] = {
                **score_folds(outcomes, target.score, self.num_bootstrap, seed),
                **target.summarize(folds),
            }
            conformal = conformal_summary(target, folds, self.confidence, self.num_bootstrap, seed)
            if conformal is not None:
                models[name]["conformal"] = conformal
        first = next(iter(results.values()))
        values = data.values(target)
        known = np.isfinite(values).all(1)
        skipped = data.skipped | {f"patient {name}": reason for name, reason in data.without[target.name].items()}
        return {
            "data": self.note or str(data.manifest),
            "convention": target.convention,
            "cohort": {
                "patients": int(known.sum()),
                **target.count(values[known]),
                "slides": sum(len(data.patients[place].features) for place in np.flatnonzero(known)),
                "channels": data.bags.num_features,
                "skipped": [{"what": what, "reason": reason} for what, reason in skipped.items()],
            },
            "folds": [
                {
                    "fold": fold.fold,
                    "training_patients": fold.train_count,
                    "test_patients": len(fold.patients),
                    **{f"test_{name}": count for name, count in target.count(fold.values).items()},
                }
                for fold in first
            ],
            "models": models,
        }

    def _track(self, target: Target, metrics: dict[str, Any]) -> None:
        """Log one MLflow run for each model of the table."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.tracking_uri)
        name = f"hmgdm_{target.kind}"
        found = client.get_experiment_by_name(name)
        artifacts = str((self.output_dir / "mlflow_artifacts").absolute())
        experiment = found.experiment_id if found else client.create_experiment(name, artifacts)
        for model, scores in metrics["models"].items():
            run = client.create_run(experiment, run_name=model).info.run_id
            for key in target.scores:
                if scores[key]["value"] is not None:
                    client.log_metric(run, key, scores[key]["value"])
            client.log_param(run, "target", target.name)
            client.log_param(run, "convention", target.convention)
            client.set_terminated(run)


def summary_table(target: Target, models: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of a table: one per model, with scores and their intervals.

    Args:
        target: what is predicted.
        models: scores by model.
    """
    width = max(15, *map(len, models)) + 1
    lines = [f"{'model':<{width}}" + "".join(f"{heading:>24}" for heading in target.scores.values())]
    for model, scores in models.items():
        lines.append(f"{model:<{width}}" + "".join(f"{_cell(scores[name]):>24}" for name in target.scores))
    return lines


def _cell(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "-"
    interval = "" if score["low"] is None else f" ({score['low']:.3f} to {score['high']:.3f})"
    return f"{score['value']:.3f}{interval}"
