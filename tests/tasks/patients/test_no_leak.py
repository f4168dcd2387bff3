"""What the test side of a fold holds never changes a model: for each kind of target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from common.fold_trainings import patient_parts

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags
from hmgdm_monai.tasks.patients.fold import train_fold
from hmgdm_monai.tasks.patients.targets.classes import ClassTarget, GradeTarget
from hmgdm_monai.tasks.patients.targets.numbers import NumberTarget
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget

COUNT = 24
FOLD = Fold(np.arange(12), np.arange(12, 18), np.arange(18, COUNT), 0)
KINDS: dict[str, tuple[Any, tuple[str, ...], dict[str, Any]]] = {
    "survival": (SurvivalTarget(), (), {}),
    "discrete time": (SurvivalTarget(), (), {"loss::name": "discrete", "loss::num_intervals": 2}),
    "classes": (ClassTarget("x", ["a", "b", "c"]), ("patient_classes.json",), {}),
    "grades": (GradeTarget("x", ["1", "2", "3"]), ("patient_classes.json",), {"ordered": True}),
    "numbers": (NumberTarget("x"), ("regress.json",), {"loss::name": "huber"}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    return [write_features(folder / f"{n}.h5", rng.normal(size=(2 + n % 3, 5))) for n in range(COUNT)]


def outcomes(target: Any) -> list[tuple[float, ...]]:
    if target.kind == "survival":
        return [(1.0 + n % 7, float(n % 2)) for n in range(COUNT)]
    return [(float(n % 3) if target.kind in ("classes", "grades") else 10.0 + n**1.5,) for n in range(COUNT)]


@pytest.mark.parametrize("selection", ["fixed", "validation"])
@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_outcomes_and_other_features_of_test_patients_leave_the_model_as_it_was(
    kind: str, selection: str, files: list[Path], tmp_path: Path
) -> None:
    target, overrides, settings = KINDS[kind]
    rng, values = np.random.default_rng(1), outcomes(target)
    patients = [Patient(str(n), ((files[n],),), {target.name: values[n]}) for n in range(COUNT)]
    changed = list(patients)
    for n, other in zip(FOLD.test, np.roll(FOLD.test, 1), strict=True):
        features = write_features(tmp_path / f"{n}.h5", rng.normal(size=(3, 5)) * 100)
        changed[n] = replace(patients[n], features=((features,),), values={target.name: values[other]})
    assert any(patients[n].values != changed[n].values for n in FOLD.test)
    models = []
    for number, cohort in enumerate((patients, changed)):
        given = {"max_epochs": 2, "aggregator": "amil", "epoch_selection": selection, **settings}
        bags = PatientBags(cohort)
        models.append(train_fold(patient_parts(bags, target, FOLD, tmp_path / str(number), *overrides, **given), bags))
    one, other = models
    assert all(torch.equal(*pair) for pair in zip(*(m.network.state_dict().values() for m in models), strict=True))
    assert one.loss.settings == other.loss.settings and one.fitted == other.fitted
    assert one.about["history"] == other.about["history"]
