"""Compare two runs of cross-validation on the same folds and patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.class_scores import score_classes, score_grades
from hmgdm_monai.metrics.fold_scores import Scores, score_differences, score_folds
from hmgdm_monai.metrics.number_scores import score_numbers
from hmgdm_monai.metrics.survival import FoldOutcome, harrell_c, score_survival
from hmgdm_monai.tasks.run_folder import write_json
from hmgdm_monai.tasks.run_predictions import OUTCOMES, RunPredictions, describe, read_predictions


def compare_runs(
    first: Path | str,
    second: Path | str,
    first_model: str | None = None,
    second_model: str | None = None,
    num_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
    output: Path | str | None = None,
) -> dict[str, Any]:
    """Compute the difference of two runs in each score, with paired bootstrap intervals over patients.

    Both runs must have tested the same patients (or tiles) in the same folds. Each score is computed per fold, the
    difference is taken within the fold, then averaged over folds (see :mod:`hmgdm_monai.metrics.fold_scores`). The
    bootstrap draws patients within folds, the same for both runs; all tiles of a patient are drawn together.

    Args:
        first: output folder of a cross-validation of patients or tiles, with its ``predictions.csv``.
        second: another one, or the same one for two models of one run.
        first_model: model of the first run, by the column ``model``; None for the run's own.
        second_model: model of the second run; None for the run's own.
        num_bootstrap: number of resamples.
        seed: seed of the resamples.
        confidence: level of the interval.
        output: JSON file for the result; None for none.

    Returns:
        ``first`` and ``second`` (run and model), ``kind``, ``patients``, ``folds``, the settings of the bootstrap, and
        ``scores``: for each score the ``first`` and ``second`` value and the ``difference`` (first minus second) with
        ``value``, ``low``, ``high``, ``mean``, ``sd`` and ``folds``. Scores that neither run defines are left out.

    Raises:
        InputError: a run has no predictions, the runs differ in kind, patients, folds or outcomes (the first
            difference is named), or the result cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from hmgdm_monai import compare_runs
        >>> from hmgdm_monai.data.files.csv_text import csv_text
        >>> for run, risks in (("good", (4, 3, 2, 1)), ("bad", (1, 4, 2, 3))):
        ...     rows = [(run, f"p{n}", n % 2, n + 1, 1, risk) for n, risk in enumerate(risks)]
        ...     Path(run).mkdir()
        ...     table = csv_text([("model", "patient", "fold", "time", "event", "risk"), *rows])
        ...     _ = Path(run, "predictions.csv").write_text(table)
        >>> compare_runs("good", "bad")["scores"]["harrell_c"]["difference"]["folds"]
        [1.0, 0.0]
    """
    one, other = read_predictions(first, first_model), read_predictions(second, second_model)
    check_comparable(one, other)
    score = _score(one)
    # Entries are patients, unless a patient has several tiles.
    patients = one.columns["patient"]
    sides = [one.numbers("fold") == fold for fold in one.folds]
    groups = None if len(np.unique(patients)) == len(patients) else [patients[side] for side in sides]
    mine, theirs = one.outcomes(), other.outcomes(one.classes)
    single = [score_folds(folds, score, num_bootstrap=0) for folds in (mine, theirs)]
    differences = score_differences(mine, theirs, score, num_bootstrap, seed, confidence, groups)
    result: dict[str, Any] = {
        "first": {"run": str(first), "model": one.model},
        "second": {"run": str(second), "model": other.model},
        "kind": one.kind,
        "patients": len(np.unique(patients)),
        "folds": len(one.folds),
        "num_bootstrap": num_bootstrap,
        "seed": seed,
        "confidence": confidence,
        "scores": {
            name: {"first": single[0][name]["value"], "second": single[1][name]["value"], "difference": difference}
            for name, difference in differences.items()
            if single[0][name]["value"] is not None or single[1][name]["value"] is not None
        },
    }
    if output is not None:
        write_json(output, result)
    return result


def comparison_table(result: dict[str, Any]) -> list[str]:
    """Return the lines of a table: the runs, then one line per score.

    Args:
        result: result of :func:`compare_runs`.
    """
    lines = [
        f"{letter}: {result[key]['run']}" + (f" ({result[key]['model']})" if result[key]["model"] else "")
        for letter, key in (("A", "first"), ("B", "second"))
    ]
    lines.append(f"{result['patients']} patients in {result['folds']} folds; each score per fold, then averaged")
    interval = f"{100 * result['confidence']:g} % interval"
    lines.append(f"{'score':<20}{'A':>9}{'B':>9}{'A - B':>9}   {interval}")
    for name, row in result["scores"].items():
        difference = row["difference"]
        cells = "".join(f"{_number(value):>9}" for value in (row["first"], row["second"], difference["value"]))
        ends = "-" if difference["low"] is None else f"{_number(difference['low'])} to {_number(difference['high'])}"
        lines.append(f"{name:<20}{cells}   {ends}")
    return lines


def check_comparable(one: RunPredictions, other: RunPredictions) -> None:
    """Check that two runs predict the same outcomes of the same patients in the same folds.

    Raises:
        InputError: they do not; the message names the first difference.
    """
    if one.kind != other.kind:
        raise InputError(f"{one.path} predicts {one.kind}, but {other.path} predicts {other.kind}; compare like runs")
    if missing := sorted(set(one.classes) ^ set(other.classes)):
        lacks = other if missing[0] in one.classes else one
        raise InputError(
            f"{lacks.path}: class {missing[0]!r} of the other run is missing; compare runs of equal classes"
        )
    keys, others = one.keys, other.keys
    for key in sorted(set(keys) ^ set(others)):
        there, lacks = (one, other) if key in set(keys) else (other, one)
        raise InputError(
            f"{lacks.path}: {describe(key)} is missing, which {there.path} has; compare runs of the same patients"
        )
    for name in ("fold", *OUTCOMES[one.kind]):
        for key, mine, theirs in zip(keys, one.columns[name], other.columns[name], strict=True):
            if mine != theirs:
                raise InputError(
                    f"{other.path}: {describe(key)} has {name} {theirs}, but {mine} in {one.path}; compare runs of the "
                    "same folds and outcomes"
                )


def _score(run: RunPredictions) -> Callable[[Any], Scores]:
    if run.kind == "survival":
        # With one fold there are no training patients, whom the other scores need for the weights of censoring.
        return score_survival if len(run.folds) > 1 else _harrell_alone
    if run.kind == "numbers":
        return score_numbers
    return score_grades if run.ordered else score_classes


def _harrell_alone(fold: FoldOutcome) -> Scores:
    c, pairs = harrell_c(fold.time, fold.event, fold.risk)
    return {"harrell_c": (c, float(pairs))}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
