"""C-index on real outcomes: AMIL, and Cox models of principal components, in 5 folds with several seeds."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parents[2]


def measure_survival(
    data: Path, cohorts: Sequence[str] = ("kirc", "lihc"), seeds: Sequence[int] = (0, 1, 2), **training: object
) -> dict[str, dict[str, list[float]]]:
    """Return Harrell's C-index of every model, one value per seed (of folds, weights and order).

    Args:
        data: folder of the real data with `survival/`.
        cohorts: names of the cohorts.
        seeds: seeds of the runs.
        **training: overrides of survival.json, e.g. ``aggregator``.

    Returns:
        C-index by cohort and model: for each seed, the fraction of concordant pairs within test folds.
    """
    from common.fold_trainings import patient_config
    from common.survival_cohort import convert_survival_cohort

    from hmgdm_monai.metrics.fold_scores import score_folds
    from hmgdm_monai.metrics.survival import score_survival
    from hmgdm_monai.tasks.patients.cross_validation import PatientCrossValidation
    from hmgdm_monai.tasks.patients.data import PatientData
    from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget
    from hmgdm_monai.transforms.tile_graph import TileGraph

    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for cohort in cohorts:
            manifest = convert_survival_cohort(data, cohort, Path(folder) / cohort)
            # These features have no coords.
            cohort_data = PatientData(
                manifest, [SurvivalTarget()], clinical_columns=("age",), graph=TileGraph(spatial_k=0)
            )
            for seed in seeds:
                output = Path(folder) / cohort / f"seed_{seed}"
                run = PatientCrossValidation(
                    cohort_data,
                    patient_config(cohort_data, output, seed=seed, **training),
                    training.get("aggregator", "amil"),
                    output,
                    seed=seed,
                    baselines=("cox_clinical", "cox_pca"),
                )
                for name, folds in run.run()["event"].items():
                    scores = score_folds(
                        [SurvivalTarget().outcome(fold.values, fold.prediction) for fold in folds],
                        score_survival,
                        num_bootstrap=0,
                    )
                    found.setdefault(cohort, {}).setdefault(name, []).append(scores["harrell_c"]["value"])
    return found


def main() -> None:
    """Print mean and standard deviation over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", nargs="+", default=["kirc", "lihc"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--training", type=json.loads, default={}, help="JSON overrides of survival.json")
    given = parser.parse_args()
    data = Path(os.environ.get("HMGDM_REAL_DATA") or _ROOT.parent / "shared" / "data")
    start = time.perf_counter()
    for cohort, models in measure_survival(data, given.cohorts, given.seeds, **given.training).items():
        for name, values in models.items():
            listed = ", ".join(f"{value:.3f}" for value in values)
            spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
            print(f"{cohort} {name}: C-index {np.mean(values):.3f} +- {spread:.3f} ({listed})", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
