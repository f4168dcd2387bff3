"""Evaluate a trained classifier on new data, with the metrics that its training reports for test folds."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.data.manifest.manifest import Manifest, ManifestRow, read_manifest
from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.classification import SCORES, classification_metrics
from hmgdm_monai.preparation.graph_unit import UNUSABLE, reason_of
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.preparation.tile_stream import stream_slide
from hmgdm_monai.saving.classifier_file import Classifier
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.run_folder import write_json

logger = logging.getLogger(__name__)


class ClassifierEvaluation(Dataset):
    """Classify and score the labeled images of a manifest, tile by tile.

    As a data set it is the sequence of evaluated images. The following are skipped and named: patients whose tiles were
    used to train the classifier or to choose its settings, rows without a label or with a label that the classifier
    does not know, and images that cannot be used. The manifest is read on first use.

    Args:
        classifier: classifier of :func:`~hmgdm_monai.saving.classifier_file.load_classifier`.
        manifest: CSV with a column ``label``.
        output_dir: folder of ``metrics.json``, ``predictions.csv`` and ``confusion.png``.
        batch_tiles: number of tiles per batch.
        max_tiles_per_slide: draws this many tiles of a slide that has more; None takes all.
        strict_manifest: refuse a manifest with any faulty row.
        device: device of the network.
        seed: seed of the draw of tiles.
    """

    def __init__(
        self,
        classifier: Classifier,
        manifest: Path | str,
        output_dir: Path | str,
        batch_tiles: int = 32,
        max_tiles_per_slide: int | None = None,
        strict_manifest: bool = False,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.classifier, self.path, self.output_dir = classifier, Path(manifest), Path(output_dir)
        self.recipe = recipe_of(classifier.run_settings, max_tiles_per_slide, seed)
        self.batch_tiles, self.strict_manifest, self.device = batch_tiles, strict_manifest, torch.device(device)
        self.skipped: dict[str, str] = {}
        self._found: list[tuple[ManifestRow, np.ndarray, np.ndarray]] = []

    @cached_property
    def manifest(self) -> Manifest:
        """The cohort as read."""
        return read_manifest(self.path, strict=self.strict_manifest)

    @cached_property
    def rows(self) -> list[ManifestRow]:
        """The evaluated images.

        Raises:
            InputError: there is none.
        """
        self.skipped |= self.manifest.left_out
        known, seen = set(self.classifier.classes), set(self.classifier.patients)
        judged = []
        for row in self.manifest.rows:
            if row.patient in seen:
                self.skipped[f"patient {row.patient}"] = "the classifier was trained on it"
            elif row.label not in known:
                what = "no label" if row.label is None else f"label {row.label!r}"
                self.skipped[row.id] = f"{what}; the classifier knows {', '.join(self.classifier.classes)}"
            else:
                judged.append(row)
        if not judged:
            reasons = sorted(set(self.skipped.values()))
            raise InputError(f"{self.path}: nothing to evaluate on: {'; '.join(reasons[:3])}")
        return judged

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> ManifestRow:
        return self.rows[number]

    def iteration(self, engine: Any, row: ManifestRow) -> dict[str, Any]:
        """Classify one image; the ``iteration_update`` of a MONAI evaluator.

        Args:
            engine: the evaluator; its inferer runs its network.
            row: row of the image.

        Returns:
            Probabilities (M, K) and labels (M,) of the image's tiles.
        """
        from monai.engines.utils import IterationEvents
        from monai.utils.enums import CommonKeys

        engine.network.eval()
        found = self.classify(row, lambda prepared: engine.inferer(prepared, engine.network))
        label = self.classifier.classes.index(str(row.label))
        engine.state.output = {CommonKeys.PRED: found, CommonKeys.LABEL: torch.full((len(found),), label)}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def classify(self, row: ManifestRow, network: Any) -> torch.Tensor:
        """Return probabilities (M, K) of an image's tiles and keep them for the report.

        M is 0 if the image cannot be used.

        Args:
            row: row of the image.
            network: maps prepared samples to logits (B, K).
        """
        encoder = self.classifier.network.encoder
        shares, places = [np.empty((0, len(self.classifier.classes)))], [np.empty((0, 2), np.int64)]
        try:
            batches = stream_slide(row, self.recipe, encoder.to_sample, self.batch_tiles)
            with torch.inference_mode():
                for samples, where, _ in batches:
                    logits = network(encoder.prepare(samples.to(self.device)))
                    shares.append(logits.softmax(1).double().cpu().numpy())
                    places.append(where)
        except UNUSABLE as error:
            self.skipped[row.id] = reason_of(error, row)
            return torch.from_numpy(shares[0])
        self._found.append((row, np.concatenate(places), np.concatenate(shares)))
        return torch.from_numpy(self._found[-1][2])

    def write(self) -> dict[str, Any]:
        """Write metrics, predictions and the confusion matrix, each completely or not at all, and log their paths.

        Raises:
            InputError: no image can be used.
        """
        from hmgdm_monai.visualize.confusion import draw_confusion
        from hmgdm_monai.visualize.save import save_figure

        if not self._found:
            raise InputError(f"{self.path}: none of its images could be used: {'; '.join(self.skipped.values())}")
        classes = self.classifier.classes
        labels = np.concatenate([np.full(len(where), classes.index(str(row.label))) for row, where, _ in self._found])
        probabilities = np.concatenate([shares for *_, shares in self._found])
        note = synthetic_note(self.path)
        metrics: dict[str, Any] = {
            "data": note or str(self.path),
            "mode": self.classifier.mode,
            "classes": list(classes),
            "chance_balanced_accuracy": 1 / len(classes),
            "patients": len({row.patient for row, *_ in self._found}),
            "overall": classification_metrics(labels, probabilities, classes),
            "skipped": [{"what": what, "reason": reason} for what, reason in self.skipped.items()],
        }
        write_json(self.output_dir / "metrics.json", metrics)
        write_whole(self.output_dir / "predictions.csv", self._predictions().encode())
        overall = metrics["overall"]
        title = (
            f"Evaluation on {len(labels)} tiles of {metrics['patients']} patients\n"
            f"balanced accuracy {overall['balanced_accuracy']:.2f} (chance {1 / len(classes):.2f})"
        )
        save_figure(draw_confusion(overall["confusion"], classes, title, note), self.output_dir / "confusion.png")
        for reason in dict.fromkeys(self.skipped.values()):
            what = [name for name, why in self.skipped.items() if why == reason]
            more = f" and {len(what) - 5} more (metrics.json names them)" if len(what) > 5 else ""
            logger.warning("skipped: %s%s: %s", ", ".join(what[:5]), more, reason)
        for name in SCORES:
            if overall[name] is not None:
                logger.info("%-18s %.3f", name, overall[name])
        logger.info("written to %s: metrics.json, predictions.csv, confusion.png", self.output_dir)
        return metrics

    def _predictions(self) -> str:
        """Return a CSV with one row per tile; ``x_px`` and ``y_px`` are its level-0 location."""
        classes = self.classifier.classes
        names = [f"probability_{name}" for name in classes]
        rows: list[list[Any]] = [["id", "x_px", "y_px", "patient", "label", "predicted", *names]]
        for row, places, shares in self._found:
            for (x, y), share in zip(places.tolist(), shares, strict=True):
                predicted = classes[int(share.argmax())]
                rows.append([row.id, x, y, row.patient, row.label, predicted, *(f"{value:.6f}" for value in share)])
        return csv_text(rows)
