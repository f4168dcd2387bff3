"""The weights that ship, on the labelled prostate tiles, as they are and spoilt: the numbers of the model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmark_parts.common import ROOT, one_thread
from reproduce_parts.features import CLEAN, PERTURBATIONS, encoder_function, spoil
from reproduce_parts.scoring import METRICS, GroupScores, predictions

if TYPE_CHECKING:
    from reproduce_parts.cohorts import Cohort

MODEL = ROOT / "bundle" / "models" / "model.pt"


def score_weights(model: Path, cohort: Cohort, seeds: Sequence[int] = (0, 1, 2)) -> dict[str, dict[str, np.ndarray]]:
    """Scores (seeds,) of frozen embeddings, each seed another draw of the folds.

    Args:
        model: a model.pt.
        cohort: whose labelled images are tiles, at the scale that the model was trained at.
        seeds: of the folds.

    Returns:
        For "linear" and "knn" on the tiles as they are, and for the linear probe on each kind of spoilt tiles,
        ``balanced_accuracy`` and ``auc``.
    """
    from skimage.io import imread

    labelled = [image for image in cohort.images if image.label is not None]
    labels, groups = (np.array([getattr(image, name) for image in labelled]) for name in ("label", "group"))
    _, embed = encoder_function(model)

    def tiles(kind: str) -> Iterator[np.ndarray]:
        for number, image in enumerate(labelled):
            yield spoil(np.ascontiguousarray(imread(image.path)[..., :3]), kind, number)

    clean, spoilt = embed(tiles(CLEAN)), {kind: embed(tiles(kind)) for kind in PERTURBATIONS}
    found: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        for name, probabilities in predictions(clean, spoilt, labels, groups, seed).items():
            scores = GroupScores(probabilities, labels, groups, cohort.negatives)()
            for metric in METRICS:
                found.setdefault(name, {}).setdefault(metric, []).append(float(scores[metric][0]))
    return {name: {metric: np.array(each) for metric, each in row.items()} for name, row in found.items()}


def main() -> None:
    """Print a line for each probe: mean and standard deviation over the draws of the folds."""
    from reproduce_parts.cohorts import read_cohort

    with one_thread():
        scores = score_weights(MODEL, read_cohort("prostate"))
    for name, row in scores.items():
        told = ", ".join(f"{metric} {values.mean():.3f} ± {values.std(ddof=1):.3f}" for metric, values in row.items())
        print(f"{name}: {told}")
