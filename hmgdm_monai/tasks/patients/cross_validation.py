"""Cross-validation of survival models: each fold is stored when it is done, and all are scored at the end."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival import FoldOutcome, follow_up_horizon
from hmgdm_monai.saving.survival_file import load_survival_model, save_survival_model
from hmgdm_monai.tasks.configs.fold_config import FoldConfig
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.patients.cox_baselines import CoxPrediction, cox_on_columns, cox_on_pca, mean_features
from hmgdm_monai.tasks.patients.data import SurvivalData
from hmgdm_monai.tasks.patients.fold import predict, train_fold
from hmgdm_monai.tasks.run_folder import write_json

logger = logging.getLogger(__name__)
BASELINES = ("cox_clinical", "cox_pca")
_GRID = 30  # number of times at which survival curves are stored


@dataclass(frozen=True)
class FoldPrediction:
    """Predictions of one model for the test patients of one fold.

    Attributes:
        fold: number of the fold.
        patients: ids of the test patients.
        risk: (P,), higher = earlier death.
        high: (P,) whether the risk is above the median risk of the training patients.
        median_risk: this median.
        outcome: risks and outcomes, for scoring.
    """

    fold: int
    patients: tuple[str, ...]
    risk: np.ndarray
    high: np.ndarray
    median_risk: float
    outcome: FoldOutcome


class SurvivalCrossValidation:
    """Train and test an aggregator and the baselines on the same folds.

    Each fold keeps ``fold_<n>.pt`` (the model) and ``fold_<n>.json`` (its predictions). A completed fold is not run
    again if patients, outcomes, features and settings are unchanged. An interrupted fold resumes after its last
    complete epoch.

    Args:
        data: the cohort.
        config: trains the aggregator in each fold; see :func:`~hmgdm_monai.tasks.patients.fold.train_fold`.
        name: name of the aggregator in the report.
        folder: output folder.
        n_folds: number of folds.
        seed: seed of the folds.
        use_manifest_folds: use the folds of the manifest; see :meth:`SurvivalData.folds`.
        baselines: any of "cox_clinical" (needs clinical columns in ``data``) and "cox_pca".
        pca_components: maximum number of components of the baseline "cox_pca".
        cox_ridge: penalty of the baselines.
        device: device of the network.

    Raises:
        InputError: a baseline is unknown, or its columns are not named.
    """

    def __init__(
        self,
        data: SurvivalData,
        config: FoldConfig,
        name: str,
        folder: Path | str,
        n_folds: int = 5,
        seed: int = 0,
        use_manifest_folds: bool = True,
        baselines: Sequence[str] = ("cox_pca",),
        pca_components: int = 16,
        cox_ridge: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if unknown := set(baselines) - set(BASELINES):
            raise InputError(
                f"no baseline is called {', '.join(map(repr, sorted(unknown)))}; choose from {', '.join(BASELINES)}"
            )
        if "cox_clinical" in baselines and not data.clinical_columns:
            raise InputError("baseline 'cox_clinical' needs columns of the manifest; name them in clinical_columns")
        self.data, self.config, self.name, self.folder = data, config, name, Path(folder)
        self.n_folds, self.seed, self.use_manifest_folds = n_folds, seed, use_manifest_folds
        self.baselines, self.pca_components, self.cox_ridge = tuple(baselines), pca_components, cox_ridge
        self.device = device

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds; the first use reads and checks the cohort, and embeds slides without features."""
        return self.data.folds(self.n_folds, self.seed, self.use_manifest_folds)

    def prepare(self) -> None:
        """Read and check everything that can be checked before training.

        Raises:
            InputError: the data or the settings cannot be used.
        """
        # Build the trainer of the first fold, so that a wrong setting is reported before any work.
        self.config.parts(fold=self.folds[0]).get_parsed_content("train#trainer")

    def run(self) -> dict[str, list[FoldPrediction]]:
        """Return the predictions of each fold by name of the model: the aggregator first, then the baselines.

        Raises:
            InputError: the data or the settings cannot be used.
        """
        folds = self.folds
        results = {self.name: [self._aggregate(fold) for fold in folds]}
        if "cox_clinical" in self.baselines:
            results["cox_clinical"] = [self._baseline(fold, "cox_clinical", None) for fold in folds]
        if "cox_pca" in self.baselines:
            features = mean_features(self.data.bags)
            results["cox_pca"] = [self._baseline(fold, "cox_pca", features) for fold in folds]
        return results

    def model_path(self, fold: Fold) -> Path:
        """Return the path of a fold's model."""
        return self.folder / f"fold_{fold.number}.pt"

    def _aggregate(self, fold: Fold) -> FoldPrediction:
        bags, key = self.data.bags, self._key(fold)
        times, result = self._times(fold), self.folder / f"fold_{fold.number}.json"
        if (found := _read_result(result, key)) is None or not self.model_path(fold).exists():
            parts = self.config.parts(fold=fold, fold_key=key[:12])
            model = train_fold(parts, bags)
            patients = [bags.patients[place].id for place in fold.development]
            graph = None if bags.graph is None else dataclasses.asdict(bags.graph)
            model.about |= {"fold": fold.number, "seed": self.seed, "patients": patients, "graph": graph}
            # Scoring on new data needs the censoring distribution of the training patients.
            train = fold.development
            model.about |= {"train_time": bags.times[train].tolist(), "train_event": bags.events[train].tolist()}
            model.about["times"] = times.tolist()
            save_survival_model(self.model_path(fold), model)
            # Load the stored model, so that the report describes the file.
            model = load_survival_model(self.model_path(fold))
            model.network.to(self.device)
            model.loss.to(self.device)
            output = predict(model, bags, fold.test)
            found = {
                "key": key,
                "epoch": model.about["epoch"],
                "median_risk": model.median_risk,
                "risk": model.loss.risk(output).double().tolist(),
                "survival": model.survival(output, times).tolist(),
            }
            write_json(result, found)
            # The model is stored, so the checkpoint with the optimizer's state is no longer needed.
            parts.get_parsed_content("checkpoint").path.unlink(missing_ok=True)
        else:
            logger.info("fold %d is done", fold.number)
        return self._prediction(fold, np.array(found["risk"]), found["median_risk"], np.array(found["survival"]), times)

    def _baseline(self, fold: Fold, name: str, features: np.ndarray | None) -> FoldPrediction:
        bags, train, times = self.data.bags, fold.development, self._times(fold)
        sides = (bags.times, bags.events, train, np.asarray(fold.test), times)
        found: CoxPrediction
        if features is None:
            found = cox_on_columns(self.data.patients, self.data.clinical_columns, *sides, ridge=self.cox_ridge)
        else:
            found = cox_on_pca(features, *sides, components=self.pca_components, ridge=self.cox_ridge)
        return self._prediction(fold, found.risk, float(np.median(found.train_risk)), found.survival, times)

    def _prediction(
        self, fold: Fold, risk: np.ndarray, median: float, survival: np.ndarray, times: np.ndarray
    ) -> FoldPrediction:
        bags, train, test = self.data.bags, fold.development, np.asarray(fold.test)
        outcome = FoldOutcome(
            bags.times[test], bags.events[test], risk, bags.times[train], bags.events[train], survival, times
        )
        ids = tuple(bags.patients[place].id for place in test)
        return FoldPrediction(fold.number, ids, risk, risk > median, median, outcome)

    def _times(self, fold: Fold) -> np.ndarray:
        """Return the times of survival curves, from the deaths of the training split up to the follow-up horizon."""
        train = fold.development
        time, event = self.data.bags.times[train], self.data.bags.events[train]
        deaths = time[(event == 1) & (time <= follow_up_horizon(time))]
        return np.unique(np.quantile(deaths if len(deaths) else time, np.linspace(0, 1, _GRID)))

    def _key(self, fold: Fold) -> str:
        """Return a digest of everything that determines the result of a fold."""
        bags = self.data.bags

        def side(places: np.ndarray) -> list[Any]:
            return [
                [
                    (patient := bags.patients[int(place)]).id,
                    patient.time,
                    patient.event,
                    [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in patient.features],
                ]
                for place in places
            ]

        content = {
            "training": self.config.settings,
            "graph": None if bags.graph is None else dataclasses.asdict(bags.graph),
            "seed": self.seed,
            "sides": [side(np.asarray(places).reshape(-1)) for places in (fold.train, fold.val, fold.test)],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_result(path: Path, key: str) -> dict[str, Any] | None:
    """Return the stored result of a fold; None if there is none, or if data or settings have changed."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found if found.get("key") == key else None
