"""Runs that are killed at random moments, MLflow's first second included, end with the results of runs that are not.

The slow tests kill each workflow 25 times: python -m pytest -m slow tests/faults/test_kills.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import Run, fingerprint, kill_again_and_again
from miniature_runs import TINY
from recipes import recipe_settings

KILLS = 25


@pytest.fixture(scope="module")
def model(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.pt for tiles of the small cohort."""
    from hmgdm_monai.saving.encoder_file import save_encoder

    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_encoder(path, tiny.encoder(run={**tiny.run, "recipe": recipe_settings(128, 1.0, min_tissue=0.2)}))
    return path


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 24 patients with features and outcomes."""
    from hmgdm_monai.data.files.features_file import write_features

    folder, rng = tmp_path_factory.mktemp("outcomes"), np.random.default_rng(0)
    rows = ["image,patient,time,event,features"]
    for n in range(24):
        coords = rng.integers(0, 9, (4 + n % 3, 2))
        write_features(folder / f"s{n}.h5", rng.normal(size=(4 + n % 3, 5)) + n / 8, coords)
        rows.append(f"s{n}.h5,p{n},{30 - n + (n % 4 == 0) * 20},{int(n % 4 != 0)},s{n}.h5")
    (folder / "m.csv").write_text("\n".join(rows))
    return folder / "m.csv"


@pytest.fixture(scope="module")
def runs(small_cohort: Path, model: Path, outcomes: Path) -> Callable[[str], Run]:
    """Function workflow -> its run in miniature."""
    survival = {"max_epochs": 6, "n_folds": 3, "num_bootstrap": 5, "aggregator": "patch_gcn", "device": "cpu"}
    found = {
        "train": Run(["train.json"], small_cohort, TINY["train.json"]),
        "train_entities": Run(["train.json", "train_entities.json"], small_cohort, TINY["train_entities.json"]),
        "dirl": Run(["train.json", "dirl.json"], small_cohort, TINY["dirl.json"]),
        "classify": Run(
            ["classify.json"], small_cohort, {**TINY["classify.json"], "model": str(model), "mode": "finetune"}
        ),
        "survival": Run(["survival.json"], outcomes, survival),
        "inference": Run(
            ["inference.json"],
            small_cohort,
            {"model": str(model), "classifier": None, "patient_model": None, "device": "cpu"},
        ),
    }
    return lambda name: found[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "train_entities", "dirl", "classify", "survival", "inference"])
def test_killed_25_times_equals_one_go(name: str, runs: Callable[[str], Run], tmp_path: Path) -> None:
    done = kill_again_and_again(runs(name), tmp_path, KILLS)
    print(f"{name}: {done.kills} kills, {done.in_mlflow} while MLflow made its database, {done.runs} runs compared")
    assert done.kills >= KILLS


def test_fingerprints_see_values_and_not_times(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    seen = []
    for loss, seconds in ((1.0, 3), (1.0, 4), (1.5, 3)):
        path.write_text(json.dumps({"history": [{"loss": loss, "seconds": seconds}]}))
        seen.append(fingerprint(tmp_path))
    assert seen[0] == seen[1] != seen[2]
