"""Encoders trained on with labels, in the folds of the table, by the bundle's own classification."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from benchmark_parts.common import run_bundle
from reproduce_parts.cohorts import Cohort
from reproduce_parts.scoring import GroupScores, grouped_folds

from hmgdm_monai.data.csv_text import csv_text, without_mark
from hmgdm_monai.errors import InputError


def finetune(model: Path, cohort: Cohort, folder: Path, stores: Path, seed: int, epochs: int) -> Path:
    """Run classify.json, or resume it; returns the predictions for each tile by the fold that has not seen it.

    Args:
        model: pretrained encoder.
        cohort: of which the labelled images are taken.
        folder: of the run. stores: of tiles and graphs.
        seed: of folds and training.
        epochs: at most.

    Raises:
        InputError: the run ended with an error, which stands on the screen.
    """
    predictions = folder / "predictions.csv"
    if predictions.exists():
        return predictions
    manifest = _write_manifest(cohort, folder / "manifest.csv", seed)
    given = {"mode": "finetune", "model": model, "manifest": manifest, "output_dir": folder, "dataset_dir": stores}
    if not run_bundle(("classify.json",), {**given, "seed": seed, "max_epochs": epochs}):
        raise InputError(f"fine-tuning of {model} ended with an error (above); the same command resumes it")
    return predictions


def read_predictions(path: Path, negatives: tuple[str, ...]) -> GroupScores:
    """Scores of a fine-tuned encoder."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    classes = sorted({without_mark(row["label"]) for row in rows})
    probabilities = np.array([[float(row[f"probability_{name}"]) for name in classes] for row in rows])
    labels, groups = (np.array([without_mark(row[name]) for row in rows]) for name in ("label", "patient"))
    return GroupScores(probabilities, labels, groups, negatives)


def _write_manifest(cohort: Cohort, path: Path, seed: int) -> Path:
    images = [image for image in cohort.images if image.label is not None]
    labels, groups = np.array([i.label for i in images]), np.array([i.group for i in images])
    fold = np.zeros(len(images), dtype=int)
    for number, (_, test) in enumerate(grouped_folds(labels, groups, seed)):
        fold[test] = number
    rows = [("image", "patient", "label", "mpp", "fold")]
    for image, number in zip(images, fold, strict=True):
        rows.append((image.path, image.group, image.label, "" if image.mpp is None else image.mpp, number))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(rows))
    return path
