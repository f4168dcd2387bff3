"""Scores of stored runs of patients: mean and deviation over seeds, and paired differences with intervals."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.errors import InputError

Scores = Mapping[str, tuple[float, float]]  # value of a fold and its weight among folds


@dataclass(frozen=True)
class Fold:
    """Predictions of one model for the test patients of a fold.

    Attributes:
        patients: (P,) names.
        values: columns of the predictions by name, (P,) each.
    """

    patients: np.ndarray
    values: Mapping[str, np.ndarray]

    def take(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Return the values of some patients, with repetitions allowed."""
        return {name: column[chosen] for name, column in self.values.items()}


Models = dict[str, list[list[Fold]]]  # folds for each seed, by model


def read_predictions(path: Path) -> dict[str, list[Fold]]:
    """Return the folds of each model in a ``predictions.csv``."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, list[Fold]] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        theirs = [row for row in rows if row["model"] == model]
        for number in sorted({int(row["fold"]) for row in theirs}):
            mine = [row for row in theirs if int(row["fold"]) == number]
            values = {name: _column(name, [row[name] for row in mine]) for name in mine[0]}
            found.setdefault(model, []).append(Fold(values["patient"], values))
    return found


def _column(name: str, cells: Sequence[str]) -> np.ndarray:
    numbers = name in ("time", "event", "risk") or name.startswith("probability_")
    return np.array(cells, float if numbers else str)


def class_scores(values: Mapping[str, np.ndarray]) -> Scores:
    """Return balanced accuracy and AUC (one against rest, mean over classes) of a fold, weighted by patients."""
    from hmgdm_monai.metrics.class_scores import balanced_accuracy, macro_auc

    prefix = "probability_"
    classes = [name.removeprefix(prefix) for name in values if name.startswith(prefix)]
    probability = np.stack([values[prefix + name] for name in classes], 1)
    label = np.array([classes.index(name) for name in values["label"]])
    scores = {
        "balanced_accuracy": balanced_accuracy(label, probability.argmax(1)),
        "auc": macro_auc(label, probability),
    }
    return {name: (value, float(len(label)) if np.isfinite(value) else 0.0) for name, value in scores.items()}


def survival_scores(values: Mapping[str, np.ndarray]) -> Scores:
    """Return Harrell's C of a fold, weighted by comparable pairs."""
    from hmgdm_monai.metrics.survival import harrell_c

    c, pairs = harrell_c(values["time"], values["event"], values["risk"])
    return {"harrell_c": (c, float(pairs))}


def draw_patients(patients: Sequence[str], draws: int = 500, seed: int = 0) -> dict[str, np.ndarray]:
    """Return how often each patient is in each bootstrap sample, (R,) by name."""
    counts = np.random.default_rng(seed).multinomial(len(patients), np.full(len(patients), 1 / len(patients)), draws)
    return dict(zip(sorted(patients), counts.T, strict=True))


class SeedScores:
    """Scores of one model over seeds, for the patients as they are and for bootstrap samples of them.

    Each score is the mean over folds, then over seeds. Predictions of different models are never pooled. A bootstrap
    sample has the same patients in all seeds, so the interval does not shrink with the number of seeds.

    Args:
        folds: folds of the model for each seed.
        score: scores of the values of a fold.
        drawn: result of :func:`draw_patients`, the same for all models that are compared.
    """

    def __init__(
        self,
        folds: Sequence[Sequence[Fold]],
        score: Callable[[Mapping[str, np.ndarray]], Scores],
        drawn: Mapping[str, np.ndarray],
    ) -> None:
        self.values = [_over_folds([score(fold.values) for fold in one]) for one in folds]
        size = len(next(iter(drawn.values())))
        samples = []
        for sample in range(size):
            by_seed = []
            for one in folds:
                chosen = [np.repeat(np.arange(len(f.patients)), [drawn[p][sample] for p in f.patients]) for f in one]
                pairs = zip(one, chosen, strict=True)
                by_seed.append(_over_folds([score(fold.take(places)) for fold, places in pairs if len(places)]))
            samples.append(_mean(by_seed))
        self.samples = {name: np.array([sample[name] for sample in samples]) for name in self.values[0]}

    def summary(self, name: str) -> dict[str, Any]:
        """Return mean and sample standard deviation (None for one seed) of a score over seeds, and all values."""
        values = [one[name] for one in self.values]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return {"mean": float(np.mean(values)), "sd": spread, "seeds": values}

    def difference(self, other: SeedScores, name: str) -> dict[str, Any]:
        """Return the difference to another model on the same patients, with a 95 % interval over patients."""
        samples = self.samples[name] - other.samples[name]
        low, high = np.nanpercentile(samples, (2.5, 97.5))
        means = [self.summary(name)["mean"], other.summary(name)["mean"]]
        return {"difference": means[0] - means[1], "interval": [float(low), float(high)]}


def check_paired(models: Mapping[str, Sequence[Sequence[Fold]]]) -> list[str]:
    """Return the patients of all models.

    Raises:
        InputError: two models do not have the same test patients in the same folds.
    """
    names = list(models)
    first = [[fold.patients.tolist() for fold in one] for one in models[names[0]]]
    for name in names[1:]:
        if [[fold.patients.tolist() for fold in one] for one in models[name]] != first:
            raise InputError(
                f"{name} and {names[0]} have other patients in their folds; remove the runs and start again"
            )
    return sorted({patient for one in first for fold in one for patient in fold})


def cell(summary: Mapping[str, Any]) -> str:
    """Return "mean ± deviation"."""
    return f"{summary['mean']:.3f}" + ("" if summary["sd"] is None else f" ± {summary['sd']:.3f}")


def difference_cell(paired: Mapping[str, Any]) -> str:
    """Return "difference (low to high)"."""
    low, high = paired["interval"]
    return f"{paired['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def _over_folds(scores: Sequence[Scores]) -> dict[str, float]:
    """Return the weighted mean of each score over the folds that define it; nan if none does."""
    found = {}
    for name in scores[0]:
        values, weights = np.array([one[name] for one in scores], float).T
        known = weights > 0
        found[name] = float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")
    return found


def _mean(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}
