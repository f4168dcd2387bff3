"""Aggregators on real patients: grades of prostate biopsies by several features, and survival in KIRC and LIHC.

Runs are those of ``predict_patients`` and ``predict_survival``. Each is stored; the same command resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark_parts.biopsy_bags import FEATURES, write_bags
from benchmark_parts.common import ROOT, need, real_data_folder
from benchmark_parts.patient_hazards import CLINICAL, multivariable, ratios_markdown, read_clinical
from benchmark_parts.patient_scores import (
    Models,
    SeedScores,
    cell,
    check_paired,
    class_scores,
    difference_cell,
    draw_patients,
    read_predictions,
    survival_scores,
)
from benchmark_parts.representation import prostate_cohort
from common.setting_values import setting_values
from common.survival_cohort import convert_survival_cohort

from hmgdm_monai.networks.aggregators.build import AGGREGATORS

REFERENCE = "mean"
ALL_AGGREGATORS, TWO = tuple(AGGREGATORS), ("mean", "amil")  # all on H-MGDM's features, two on the others
BIOPSY_SEEDS, SURVIVAL_SEEDS = (0, 1, 2, 3, 4), (0, 1, 2)
BIOPSY_FOLDS = 4  # one class has four biopsies
COHORTS = ("kirc", "lihc")
TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "harrell_c": "Harrell's C",
}


def main(
    output: Path, seeds: Sequence[int] | None = None, max_tiles: int | None = None, settings: Sequence[str] = ()
) -> None:
    """Run everything that is not stored, and write ``patients.md`` and ``patients.json``.

    Args:
        output: output folder.
        seeds: seeds of folds and weights; None uses five for the biopsies and three for survival.
        max_tiles: labeled and unlabeled tiles per biopsy; for a trial run.
        settings: NAME=VALUE, further settings of the runs.
    """
    from hmgdm_monai.data.files.whole_file import write_whole
    from hmgdm_monai.tasks.run_folder import RunFolder, write_json

    data, output = real_data_folder(), output / "patients"
    need(data / "survival")
    model = ROOT / "bundle" / "models" / "model.pt"
    identity = {
        "max_tiles": max_tiles,
        "settings": list(settings),
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    RunFolder(output, identity).claim()
    more = setting_values(settings)
    manifests = write_bags(prostate_cohort(data, max_tiles), model, output / "bags")
    tables, ratios = {}, {}
    for name, title in FEATURES.items():
        aggregators = ALL_AGGREGATORS if name == "hmgdm" else TWO
        models = biopsy_models(manifests[name], output / "runs" / name, seeds or BIOPSY_SEEDS, more, aggregators)
        tables[f"Prostate biopsies, {title}"] = summarize(models, class_scores)
    for name in COHORTS:
        manifest = convert_survival_cohort(data, name, output / "cohorts" / name)
        models = survival_models(manifest, output / "runs" / name, seeds or SURVIVAL_SEEDS, more, ALL_AGGREGATORS)
        tables[name.upper()] = summarize(models, survival_scores)
        ratios[name.upper()] = multivariable(models, read_clinical(manifest))
    page = markdown(tables) + ratios_markdown(ratios)
    write_json(output / "patients.json", {"scores": tables, "hazard_ratios": ratios})
    write_whole(output / "patients.md", page.encode())
    print(page)


def biopsy_models(
    manifest: Path, folder: Path, seeds: Sequence[int], settings: Mapping[str, Any], aggregators: Sequence[str]
) -> Models:
    """Return the folds of aggregators and of the baseline, for the grade of the biopsy."""
    from hmgdm_monai import predict_patients

    def run(aggregator: str, seed: int, output: Path) -> None:
        baselines = ["logistic_pca"] if aggregator == REFERENCE else []
        own = _settings(aggregator, seed, baselines) | {"n_folds": BIOPSY_FOLDS}
        predict_patients(manifest, output, **(own | settings))

    return run_all(run, folder, seeds, aggregators)


def survival_models(
    manifest: Path, folder: Path, seeds: Sequence[int], settings: Mapping[str, Any], aggregators: Sequence[str]
) -> Models:
    """Return the folds of aggregators and of the baselines, for survival."""
    from hmgdm_monai import predict_survival

    def run(aggregator: str, seed: int, output: Path) -> None:
        baselines = ["cox_pca", "cox_clinical", "cox_clinical_pca"] if aggregator == REFERENCE else []
        own = _settings(aggregator, seed, baselines) | {"clinical_columns": list(CLINICAL)}
        predict_survival(manifest, output, **(own | settings))

    return run_all(run, folder, seeds, aggregators)


def run_all(
    run: Callable[[str, int, Path], None], folder: Path, seeds: Sequence[int], aggregators: Sequence[str]
) -> Models:
    """Call ``run(aggregator, seed, output_dir)`` for what is not stored, and return the predictions of all runs."""
    found: Models = {}
    for aggregator in aggregators:
        for seed in seeds:
            output = folder / aggregator / f"seed_{seed}"
            if not (output / "metrics.json").exists():  # the last file of a run
                print(f"{folder.name} {aggregator}, seed {seed}", flush=True)
                run(aggregator, seed, output)
            for model, folds in read_predictions(output / "predictions.csv").items():
                found.setdefault(model, []).append(folds)
    return found


def summarize(models: Models, score: Callable[..., Any], draws: int = 500) -> dict[str, dict[str, Any]]:
    """Return for each model and score: mean, deviation, values of the seeds, and the difference to the mean pool.

    Args:
        models: folds for each seed, by model.
        score: scores of a fold.
        draws: number of bootstrap samples of patients.
    """
    drawn = draw_patients(check_paired(models), draws)
    scores = {name: SeedScores(folds, score, drawn) for name, folds in models.items()}
    return {
        name: {
            key: {**one.summary(key), "minus_mean_pool": one.difference(scores[REFERENCE], key)} for key in one.samples
        }
        for name, one in scores.items()
    }


def markdown(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a page with a table for each set of patients."""
    lines = [
        "Mean ± standard deviation over seeds (of folds, weights and order); each score is computed in each fold, then "
        "averaged. Differences to the mean pool are paired, with 95 % intervals over patients.",
        "",
        "H-MGDM was pretrained, without labels, on tiles of the same biopsies. Tiles of biopsies and regions of KIRC "
        "and LIHC have no coordinates, so tile graphs have neighbors in feature space alone.",
    ]
    for title, models in tables.items():
        keys = list(next(iter(models.values())))
        head = ["model", *(TITLES[key] for key in keys), *(f"{TITLES[key]} minus {REFERENCE}" for key in keys)]
        lines += ["", f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for name, scores in models.items():
            cells = [cell(scores[key]) for key in keys]
            cells += ["" if name == REFERENCE else difference_cell(scores[key]["minus_mean_pool"]) for key in keys]
            lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines) + "\n"


def _settings(aggregator: str, seed: int, baselines: Sequence[str]) -> dict[str, Any]:
    graph = {"graph::spatial_k": 0} if AGGREGATORS[aggregator].uses_graph else {}
    common = {"aggregator": aggregator, "seed": seed, "baselines": list(baselines), "device": "cpu"}
    # No tracking: a database for each of some hundred short runs would take longer than the runs.
    return {**common, **graph, "num_bootstrap": 0, "report::tracking_uri": None}
