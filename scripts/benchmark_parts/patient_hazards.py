"""Hazard ratio of each model's risk beside clinical columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmark_parts.patient_scores import Fold, Models

from hmgdm_monai.errors import InputError

CLINICAL = ("age", "is_female")
Ratios = dict[str, dict[str, float]]  # ratio, low and high by column


def read_clinical(manifest: Path) -> dict[str, dict[str, float]]:
    """Return the clinical columns of each patient of a manifest."""
    with manifest.open(newline="") as stream:
        return {row["patient"]: {name: float(row[name]) for name in CLINICAL} for row in csv.DictReader(stream)}


def multivariable(models: Models, clinical: Mapping[str, Mapping[str, float]]) -> dict[str, Ratios]:
    """Return the hazard ratios of each model that does not know the clinical columns itself.

    For each seed a Cox model of risk and clinical columns is fitted to the test patients of all folds, with the folds
    as strata. Ratios and ends of the 95 % intervals are averaged over seeds as logarithms. Risk and age are per
    standard deviation.

    Args:
        models: folds for each seed, by model.
        clinical: clinical columns by patient.
    """
    found = {}
    for name, seeds in models.items():
        if "clinical" in name:
            continue
        try:
            found[name] = _mean_ratios([_ratios(folds, clinical) for folds in seeds])
        except InputError as error:  # its risk has no ratio; the others have
            print(f"{name}: {error}")
    return found


def ratios_markdown(cohorts: Mapping[str, Mapping[str, Ratios]]) -> str:
    """Return a table of hazard ratios for each cohort."""
    lines = []
    for title, models in cohorts.items():
        columns = ("risk", *CLINICAL)
        lines += ["", f"## {title}, hazard ratios", ""]
        lines += [f"| model | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for name, ratios in models.items():
            cells = (f"{r['ratio']:.2f} ({r['low']:.2f} to {r['high']:.2f})" for r in map(ratios.get, columns) if r)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    note = (
        "Cox models of the risk and the clinical columns together, on test patients, folds as strata; risk and age per "
        "standard deviation. Ratios and 95 % intervals are averaged over seeds as logarithms."
    )
    return "\n".join([*lines, "", note]) + "\n"


def _ratios(folds: Sequence[Fold], clinical: Mapping[str, Mapping[str, float]]) -> Ratios:
    from hmgdm_monai.metrics.hazard_ratios import hazard_ratios, standardize_within

    strata = np.concatenate([np.full(len(fold.patients), number) for number, fold in enumerate(folds)])
    time, event, risk = (np.concatenate([fold.values[name] for fold in folds]) for name in ("time", "event", "risk"))
    patients = np.concatenate([fold.patients for fold in folds])
    columns = {"risk": standardize_within(risk, strata)}
    columns |= {name: np.array([clinical[patient][name] for patient in patients]) for name in CLINICAL}
    columns["age"] = standardize_within(columns["age"], np.zeros(len(patients)))
    return hazard_ratios(time, event, columns, strata).to_json()


def _mean_ratios(seeds: Sequence[Ratios]) -> Ratios:
    keys = ("ratio", "low", "high")
    return {
        name: {key: float(np.exp(np.mean([np.log(seed[name][key]) for seed in seeds]))) for key in keys}
        for name in seeds[0]
    }
