"""Cross-validation of models of patients: each fold is stored when it is done, and all are scored at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.saving.patient_file import load_patient_model, save_patient_model
from hmgdm_monai.tasks.configs.fold_config import FoldConfig
from hmgdm_monai.tasks.fold_file import read_fold_file
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.patients.baselines import (
    BASELINES,
    check_baselines,
    clinical_inputs,
    mean_features,
    output_inputs,
    principal_components,
)
from hmgdm_monai.tasks.patients.calibration import calibrated_folds
from hmgdm_monai.tasks.patients.data import PatientData
from hmgdm_monai.tasks.patients.fold import predict, train_fold
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.prediction import Prediction
from hmgdm_monai.tasks.patients.targets.target import Target
from hmgdm_monai.tasks.run_folder import write_json

logger = logging.getLogger(__name__)
Results = dict[str, list[FoldPrediction]]  # by model


class PatientCrossValidation:
    """Train and test an aggregator and the baselines on the same folds, for each target.

    With inner validation patients, the probabilities of classes are also given as calibrated by them.

    Several targets have one model each: so the result of a target does not depend on which others are in the list, no
    weights of losses must be chosen, and a patient without one outcome still serves the others.

    Each fold keeps ``fold_<n>.pt`` (the model) and ``fold_<n>.json`` (its predictions), in a folder for each target if
    there are several. A completed fold is not run again if patients, outcomes, features and settings are unchanged. An
    interrupted fold resumes after its last complete epoch.

    Args:
        data: the cohort.
        config: trains the aggregator in each fold; see :func:`~hmgdm_monai.tasks.patients.fold.train_fold`.
        name: name of the aggregator in the report.
        folder: output folder.
        n_folds: number of folds.
        seed: seed of the folds.
        use_manifest_folds: use the folds of the manifest; see :meth:`PatientData.folds`.
        baselines: names of linear models and their inputs, such as "cox_pca", "cox_clinical", "cox_clinical_pca" and
            "cox_clinical_model"; "logistic_..." for classes and grades, "ridge_..." for numbers.
        pca_components: maximum number of principal components.
        ridge: penalty of the baselines.
        epoch_selection: see :func:`~hmgdm_monai.tasks.patients.fold.training_side`.
        device: device of the network.

    Raises:
        InputError: a baseline is unknown or cannot be fitted.
    """

    def __init__(
        self,
        data: PatientData,
        config: FoldConfig,
        name: str,
        folder: Path | str,
        n_folds: int = 5,
        seed: int = 0,
        use_manifest_folds: bool = True,
        baselines: Sequence[str] = (),
        pca_components: int = 16,
        ridge: float = 1.0,
        epoch_selection: str = "fixed",
        device: torch.device | str = "cpu",
    ) -> None:
        self.has_validation = epoch_selection == "validation"
        for target in data.targets:
            check_baselines(baselines, target.baseline, data.clinical_columns, self.has_validation)
        self.data, self.config, self.name, self.folder = data, config, name, Path(folder)
        self.n_folds, self.seed, self.use_manifest_folds = n_folds, seed, use_manifest_folds
        self.baselines, self.pca_components, self.ridge = tuple(baselines), pca_components, ridge
        self.device = device

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds; the first use reads and checks the cohort, and embeds slides without features."""
        return self.data.folds(self.n_folds, self.seed, self.use_manifest_folds)

    @cached_property
    def _mean_features(self) -> np.ndarray:
        return mean_features(self.data.bags)

    def prepare(self) -> None:
        """Read and check everything that can be checked before training.

        Raises:
            InputError: the data or the settings cannot be used.
        """
        # Build the trainer of the first fold, so that a wrong setting is reported before any work.
        for target in self.data.targets:
            fold = self.data.fold_of(target, self.folds[0])
            self.config.parts(fold=fold, target=target).get_parsed_content("train#trainer")

    def run(self) -> dict[str, Results]:
        """Return the predictions of each fold by target and model: the aggregator first, then the baselines.

        Raises:
            InputError: the data or the settings cannot be used.
        """
        return {target.name: self._run(target) for target in self.data.targets}

    def fold_folder(self, target: Target) -> Path:
        """Return the folder of a target's models."""
        return self.folder / safe_name(target.name) if len(self.data.targets) > 1 else self.folder

    def model_path(self, target: Target, fold: Fold) -> Path:
        """Return the path of a fold's model."""
        return self.fold_folder(target) / f"fold_{fold.number}.pt"

    def _run(self, target: Target) -> Results:
        values = self.data.values(target)
        folds = [self.data.fold_of(target, fold) for fold in self.folds]
        stored = [self._aggregate(target, fold, values) for fold in folds]
        results = {
            self.name: [
                self._tested(fold, values, Prediction.from_json(found["prediction"], found["fitted"]))
                for fold, found in zip(folds, stored, strict=True)
            ]
        }
        if (scaled := calibrated_folds(target, results[self.name])) is not None:
            results[f"{self.name}_calibrated"] = scaled
        for inputs_name, inputs in BASELINES.items():
            name = f"{target.baseline}_{inputs_name}"
            if name not in self.baselines:
                continue
            results[name] = [
                self._tested(fold, values, self._baseline(target, fold, values, inputs, found))
                for fold, found in zip(folds, stored, strict=True)
            ]
        return results

    def _tested(self, fold: Fold, values: np.ndarray, prediction: Prediction) -> FoldPrediction:
        ids = tuple(self.data.patients[place].id for place in fold.test)
        return FoldPrediction(fold.number, ids, values[fold.test], prediction, len(fold.development))

    def _aggregate(self, target: Target, fold: Fold, values: np.ndarray) -> dict[str, Any]:
        """Train a fold, or read its stored result."""
        bags, key = self.data.bags, self._key(target, fold, values)
        path, model_path = self.fold_folder(target) / f"fold_{fold.number}.json", self.model_path(target, fold)
        names = ("epoch", "fitted", "prediction", "output", "val_output")
        if (found := read_fold_file(path, key, model_path, names)) is not None:
            return found
        parts = self.config.parts(fold=fold, target=target, fold_key=key[:12])
        model = train_fold(parts, bags)
        patients = [bags.patients[place].id for place in fold.development]
        graph = None if bags.graph is None else dataclasses.asdict(bags.graph)
        model.about |= {"fold": fold.number, "seed": self.seed, "patients": patients, "graph": graph}
        save_patient_model(model_path, model)
        # Load the stored model, so that the report describes the file.
        model = load_patient_model(model_path)
        model.network.to(self.device)
        model.loss.to(self.device)
        output = predict(model, bags, fold.test)
        result = {
            "key": key,
            "epoch": model.about["epoch"],
            "fitted": model.fitted,
            "prediction": target.predict(model.loss, output, model.fitted).to_json(),
            "output": output.tolist(),
            # Without inner validation, the model has been trained on these patients.
            "val_output": predict(model, bags, fold.val).tolist() if self.has_validation else [],
        }
        write_json(path, result)
        # The model is stored, so the checkpoint with the optimizer's state is no longer needed.
        parts.get_parsed_content("checkpoint").path.unlink(missing_ok=True)
        return dict(json.loads(json.dumps(result)))

    def _baseline(
        self, target: Target, fold: Fold, values: np.ndarray, inputs: Sequence[str], stored: dict[str, Any]
    ) -> Prediction:
        train, test = fold.development, np.asarray(fold.test, int)
        if "model" in inputs:  # on patients that the model was not trained on
            train = np.asarray(fold.val, int)
        columns = []
        if "clinical" in inputs:
            columns.append(clinical_inputs(self.data.patients, self.data.clinical_columns, train, test))
        if "pca" in inputs:
            columns.append(principal_components(self._mean_features, train, test, self.pca_components))
        if "model" in inputs:
            columns.append(output_inputs(np.array(stored["val_output"]), np.array(stored["output"])))
        x_train, x_test = (parts[0] if len(parts) == 1 else np.hstack(parts) for parts in zip(*columns, strict=True))
        fitted = target.describe_training(values[train])
        return target.predict_linear(x_train, x_test, values[train], fitted, self.ridge)

    def _key(self, target: Target, fold: Fold, values: np.ndarray) -> str:
        """Return a digest of everything that determines the result of a fold."""
        bags = self.data.bags

        def side(places: np.ndarray) -> list[Any]:
            return [
                [
                    (patient := bags.patients[int(place)]).id,
                    values[int(place)].tolist(),
                    [
                        [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
                        for paths in patient.features
                    ],
                ]
                for place in places
            ]

        content = {
            "training": self.config.settings,
            "target": target.settings,
            "graph": None if bags.graph is None else dataclasses.asdict(bags.graph),
            "seed": self.seed,
            "sides": [side(np.asarray(places).reshape(-1)) for places in (fold.train, fold.val, fold.test)],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
