"""The output of a cross-validated classification: metrics, predictions, a figure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.losses.class_weights import class_weights
from hmgdm_monai.metrics.classification import SCORES, classification_metrics, spread_over_folds
from hmgdm_monai.tasks.run_folder import write_json
from hmgdm_monai.tasks.tiles.data import ClassificationData
from hmgdm_monai.tasks.tiles.fold_result import FoldResult

logger = logging.getLogger(__name__)

TITLES = {"linear": "linear probe", "knn": "nearest neighbors", "finetune": "fine-tuned encoder"}


class ClassificationReport:
    """Write ``metrics.json``, ``predictions.csv`` and ``confusion.png``, each completely or not at all.

    Args:
        folder: output folder.
        data: classified tiles.
        mode: mode of the classification.
    """

    def __init__(self, folder: Path | str, data: ClassificationData, mode: str) -> None:
        self.folder, self.data, self.mode = Path(folder), data, mode

    def write(self, results: Sequence[FoldResult]) -> None:
        """Write all files and log their paths."""
        from hmgdm_monai.visualize.confusion import draw_confusion
        from hmgdm_monai.visualize.save import save_figure

        metrics = self.metrics(results)
        write_json(self.folder / "metrics.json", metrics)
        write_whole(self.folder / "predictions.csv", self.predictions(results).encode())
        overall = metrics["overall"]
        title = (
            f"Classification, {TITLES[self.mode]}, {len(results)} folds by patient\n"
            f"balanced accuracy {overall['balanced_accuracy']:.2f} (chance {1 / len(self.data.classes):.2f})"
        )
        figure = draw_confusion(overall["confusion"], self.data.classes, title, self.data.note)
        save_figure(figure, self.folder / "confusion.png")
        spread = metrics["over_folds"]
        for name in SCORES:
            if spread[name] is not None:
                sd = "" if spread[name]["sd"] is None else f" ± {spread[name]['sd']:.3f}"
                pooled = f"; {overall[name]:.3f} over all tiles" if name in overall else ""
                logger.info("%-18s %.3f%s over folds%s", name, spread[name]["mean"], sd, pooled)
        logger.info("metrics:     %s", self.folder / "metrics.json")
        logger.info("predictions: %s", self.folder / "predictions.csv")
        logger.info("figure:      %s", self.folder / "confusion.png")
        logger.info("classifiers: %s", self.folder / "checkpoints")

    def metrics(self, results: Sequence[FoldResult]) -> dict[str, Any]:
        """Return the scores of each fold (``folds``), their mean and deviation (``over_folds``), and ``overall``.

        ``overall`` counts the predicted classes of all tiles, each predicted by the model of its fold. It has no AUC:
        probabilities of different models have no common scale, so the AUC is computed per fold and averaged.
        """
        data = self.data
        folds: list[dict[str, Any]] = []
        for result in results:
            fold = result.fold
            weights = class_weights(data.labels[fold.train], len(data.classes))
            sides = {"train": fold.train, "val": fold.val, "test": fold.test}
            folds.append(
                {
                    "fold": fold.number,
                    **classification_metrics(data.labels[fold.test], result.probabilities, data.classes),
                    "chosen_by_validation": result.chosen,
                    "class_weights": dict(zip(data.classes, weights.tolist(), strict=True)),
                    "tiles_by_side": {name: len(side) for name, side in sides.items()},
                    "patients_by_side": {name: len(np.unique(data.patients[side])) for name, side in sides.items()},
                    "history": result.history,
                }
            )
        tested = np.concatenate([result.fold.test for result in results])
        probabilities = np.concatenate([result.probabilities for result in results])
        overall = classification_metrics(data.labels[tested], probabilities, data.classes)
        del overall["macro_auc"]
        return {
            "data": data.note or str(data.manifest),
            "model": str(data.pretrained.path),
            "mode": self.mode,
            "classes": list(data.classes),
            "chance_balanced_accuracy": 1 / len(data.classes),
            "overall": overall,
            "over_folds": spread_over_folds(folds),
            "folds": folds,
            "skipped": [{"what": what, "reason": reason} for what, reason in data.cohort.skipped],
        }

    def predictions(self, results: Sequence[FoldResult]) -> str:
        """Return a CSV with one row per tile in the order of the cohort; ``x_px``, ``y_px`` is its level-0 location."""
        rows: dict[int, list[Any]] = {}
        for result in results:
            for index, probabilities in zip(result.fold.test.tolist(), result.probabilities, strict=True):
                tile = self.data.tiles[index]
                predicted = self.data.classes[int(probabilities.argmax())]
                place = (tile.info.row_id, *tile.info.location_px, tile.patient, result.fold.number)
                rows[index] = [*place, tile.label, predicted, *(f"{value:.6f}" for value in probabilities)]
        probabilities = [f"probability_{name}" for name in self.data.classes]
        header = ["id", "x_px", "y_px", "patient", "fold", "label", "predicted", *probabilities]
        return csv_text([header, *(rows[index] for index in sorted(rows))])
