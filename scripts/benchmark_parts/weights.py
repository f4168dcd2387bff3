"""Scores of the shipped weights on labeled tiles, clean and corrupted: the numbers of the model card."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmark_parts.common import ROOT, one_thread

if TYPE_CHECKING:
    from reproduce_parts.cohorts import Cohort

MODEL = ROOT / "bundle" / "models" / "model.pt"


def score_weights(model: Path, cohort: Cohort, seeds: Sequence[int] = (0, 1, 2)) -> dict[str, dict[str, np.ndarray]]:
    """Return scores (seeds,) of frozen embeddings, averaged over folds; each seed draws other folds.

    Args:
        model: a model.pt.
        cohort: cohort whose labeled images are scored.
        seeds: seeds of the folds.

    Returns:
        For each probe on clean tiles, and for the linear probe on each kind of corrupted tiles, ``balanced_accuracy``
        and ``auc``.
    """
    from reproduce_parts.cohorts import write_manifest
    from reproduce_parts.corruption import CLEAN, CORRUPTIONS
    from reproduce_parts.features import embed_images
    from reproduce_parts.folds import grouped_folds
    from reproduce_parts.probes import probe_predictions
    from reproduce_parts.scored_tiles import ScoredTiles
    from reproduce_parts.scoring import METRICS, mean_of_known, scores_by_fold

    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.preparation.tile_recipe import TileRecipe
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData
    from hmgdm_monai.transforms.superpixels import Superpixels
    from hmgdm_monai.transforms.tile_transforms import cutter_in, graph_transforms

    encoder = load_encoder(model)
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_manifest(cohort, Path(folder) / "manifest.csv")
        # Original tiles: the encoder normalizes their stains after the corruption.
        recipe = recipe_of(encoder.run_settings)
        as_came = TileRecipe(recipe.tile_spec, graph_transforms(cutter_in(recipe.transforms) or Superpixels()))
        tiles = ScoredTiles(PretrainingData(manifest, folder, as_came), cohort)
        features = {kind: embed_images(encoder, tiles.images(kind)) for kind in (CLEAN, *CORRUPTIONS)}
    once = np.ones((1, len(np.unique(tiles.groups))))
    found: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        test_sides = [test for _, test in grouped_folds(tiles.labels, tiles.groups, seed)]
        for name, probabilities in probe_predictions(features, tiles.labels, tiles.groups, seed).items():
            folds = scores_by_fold(probabilities, tiles.labels, tiles.groups, cohort.negatives, test_sides)
            for metric in METRICS:
                value = mean_of_known(np.array([fold(once)[metric][0] for fold in folds]), 0)
                found.setdefault(name, {}).setdefault(metric, []).append(float(value))
    return {name: {metric: np.array(each) for metric, each in row.items()} for name, row in found.items()}


def main(data_sets: Sequence[str] = ("glas", "breast", "prostate")) -> None:
    """Print one line per data set and probe: mean and standard deviation over the draws of the folds."""
    from reproduce_parts.cohorts import read_cohort

    for data in data_sets:
        with one_thread():
            scores = score_weights(MODEL, read_cohort(data))
        for name, row in scores.items():
            texts = (f"{metric} {values.mean():.3f} ± {values.std(ddof=1):.3f}" for metric, values in row.items())
            print(f"{data}, {name}: {', '.join(texts)}", flush=True)
