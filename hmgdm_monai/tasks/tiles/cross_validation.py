"""Cross-validated classification: one fold after the other, resumable, with one report."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from hmgdm_monai.metrics.classification import SCORES, classification_metrics
from hmgdm_monai.saving.classifier_file import check_mode, save_classifier
from hmgdm_monai.tasks.fold_file import read_fold_file
from hmgdm_monai.tasks.folds import Fold, check_folds, make_folds
from hmgdm_monai.tasks.run_folder import RunFolder, write_json
from hmgdm_monai.tasks.tiles.data import ClassificationData, predict_probabilities
from hmgdm_monai.tasks.tiles.fold_result import FoldResult
from hmgdm_monai.tasks.tiles.methods import Method
from hmgdm_monai.tasks.tiles.report import ClassificationReport

logger = logging.getLogger(__name__)


class CrossValidation:
    """Fit and test a classifier in every fold, and write a report.

    A completed fold is not run again. It is marked by ``folds/fold_<number>.json``, which is written last and contains
    a key of the fold's input. If tiles, labels, folds or the model have changed since, the fold is run again.

    Args:
        data: labeled tiles.
        methods: methods by mode; only the chosen one is used.
        mode: "linear", "knn" or "finetune".
        run_folder: output folder; it refuses other settings.
        n_folds: number of folds if the manifest contains no folds.
        val_fraction: approximate fraction of the patients outside the test split that choose epoch and settings.
        seed: seed of the folds.

    Raises:
        InputError: the mode is unknown.
    """

    def __init__(
        self,
        data: ClassificationData,
        methods: Mapping[str, Method],
        mode: str,
        run_folder: RunFolder,
        n_folds: int = 5,
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        check_mode(mode)
        self.data, self.method, self.run_folder = data, methods[mode], run_folder
        self.n_folds, self.val_fraction, self.seed = n_folds, val_fraction, seed
        self.folder = run_folder.path

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds; the first use checks the manifest, then prepares the data."""
        rows = self.data.listed.rows
        listed = ([str(row.label) for row in rows], [row.patient for row in rows])
        check_folds(*listed, self.n_folds, [row.fold for row in rows], self.val_fraction)
        self.data.prepare()
        given = [tile.fold for tile in self.data.tiles]
        return make_folds(self.data.labels, self.data.patients, self.n_folds, self.seed, given, self.val_fraction)

    def run(self) -> list[FoldResult]:
        """Run the folds that are not completed, and write the report.

        Raises:
            InputError: the cohort cannot be split or used, or the folder holds a run with other settings.
        """
        folds = self.folds
        self._tell(folds)
        self.method.check(folds[0])
        self.run_folder.claim()
        results = []
        with logging_redirect_tqdm(), tqdm(folds, desc=f"{self.method.mode}: folds", unit="fold") as bar:
            for fold in bar:
                results.append(self._stored(fold) or self._fit(fold))
        ClassificationReport(self.folder, self.data, self.method.mode).write(results)
        return results

    def checkpoint_path(self, fold: Fold) -> Path:
        """Return the path of a fold's classifier."""
        return self.folder / "checkpoints" / f"classifier_fold{fold.number}.pt"

    def _fit(self, fold: Fold) -> FoldResult:
        fitted = self.method.fit(self.data, fold)
        probabilities = predict_probabilities(fitted.network, self.data.labeled(fold.test), self.data.device)
        seen = np.unique(self.data.patients[np.concatenate((fold.train, fold.val))])
        save_classifier(
            self.checkpoint_path(fold),
            fitted.network.cpu(),
            self.method.mode,
            fitted.settings,
            self.data.classes,
            seen.tolist(),
            fold.number,
        )
        result = FoldResult(fold, probabilities, dict(fitted.chosen), [dict(record) for record in fitted.history])
        write_json(
            self._fold_path(fold),
            {
                "key": self._key(fold),
                "chosen": result.chosen,
                "history": result.history,
                "probabilities": probabilities.tolist(),
            },
        )
        scores = classification_metrics(self.data.labels[fold.test], probabilities, self.data.classes)
        scored = ", ".join(f"{name} {scores[name]:.3f}" for name in SCORES if scores[name] is not None)
        logger.info("fold %d: %s; chosen by validation: %s", fold.number, scored, result.chosen)
        return result

    def _stored(self, fold: Fold) -> FoldResult | None:
        """Return the result of a completed fold whose input has not changed; None if the fold must be run."""
        names = ("probabilities", "chosen", "history")
        found = read_fold_file(self._fold_path(fold), self._key(fold), self.checkpoint_path(fold), names)
        if found is None:
            return None
        return FoldResult(fold, np.array(found["probabilities"]), found["chosen"], found["history"])

    def _fold_path(self, fold: Fold) -> Path:
        return self.folder / "folds" / f"fold_{fold.number}.json"

    def _key(self, fold: Fold) -> str:
        """Return a digest of the fold's input, without the settings, which the run folder compares."""
        tiles = self.data.tiles
        sides = [
            [
                [tiles[i].info.row_id, *tiles[i].info.location_px, tiles[i].patient, tiles[i].label]
                for i in side.tolist()
            ]
            for side in (fold.train, fold.val, fold.test)
        ]
        graphs = [path.name for path in self.data.cohort.paths]  # the name contains a digest of the unit's input
        content = json.dumps([self.data.pretrained.digest, self.method.mode, sides, graphs])
        return hashlib.sha256(content.encode()).hexdigest()

    def _tell(self, folds: list[Fold]) -> None:
        names, counts = np.unique([tile.label for tile in self.data.tiles], return_counts=True)
        classes = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
        given = self.data.tiles[0].fold is not None
        logger.info(
            "%d tiles of %d patients (%s) in %d folds %s",
            len(self.data.tiles),
            len(np.unique(self.data.patients)),
            classes,
            len(folds),
            "of the manifest" if given else "drawn, stratified and grouped by patient",
        )
        if not given and len(folds) < self.n_folds:
            logger.warning("n_folds is %d, but the rarest class has patients for only %d", self.n_folds, len(folds))
