"""Cox baselines: fitted on the training side alone, on numbers and categories with gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival import harrell_c
from hmgdm_monai.tasks.patients.bags import Patient
from hmgdm_monai.tasks.patients.baselines import check_baselines, clinical_inputs, principal_components
from hmgdm_monai.tasks.patients.targets.prediction import Prediction
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget

N = 80
TRAIN, TEST = np.arange(50), np.arange(50, N)


def outcomes(log_hazard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    death, end = rng.exponential(np.exp(-log_hazard)), rng.exponential(3, N)
    return np.minimum(death, end) + 1e-3, (death <= end).astype(int)


def cox(inputs: tuple[np.ndarray, np.ndarray], time: np.ndarray, event: np.ndarray) -> Prediction:
    target, values = SurvivalTarget(), np.stack((time, event), 1)[TRAIN]
    return target.predict_linear(*inputs, values, target.describe_training(values), ridge=1.0)


def patients(**columns: list[str]) -> list[Patient]:
    return [Patient(str(n), ((Path("x"),),), {}, None, {k: v[n] for k, v in columns.items()}) for n in range(N)]


def test_the_direction_of_risk_is_found_in_many_channels() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 3)) * [3, 2, 1]
    features = hidden @ rng.normal(size=(3, 200)) + 0.1 * rng.normal(size=(N, 200))
    time, event = outcomes(hidden[:, 1])
    found = cox(principal_components(features, TRAIN, TEST), time, event)
    assert harrell_c(time[TEST], event[TEST], found.values[:, 0])[0] > 0.75
    assert found.curves.shape == (len(TEST), len(found.fitted["times"])) and (np.diff(found.curves, axis=1) <= 0).all()
    # Nothing of the test side is read in fitting.
    time[TEST], event[TEST] = 5.0, 1
    changed = features.copy()
    changed[TEST[1:]] *= 50
    again = cox(principal_components(changed, TRAIN, TEST), time, event)
    assert again.fitted["median_risk"] == pytest.approx(found.fitted["median_risk"])
    assert again.values[0, 0] == pytest.approx(found.values[0, 0])


def test_numbers_and_categories_with_gaps_and_unknown_values() -> None:
    rng = np.random.default_rng(0)
    age, grade = rng.normal(60, 10, N), rng.choice(["I", "II", "III"], N)
    time, event = outcomes((age - 60) / 10 + (grade == "III") * 1.5)
    cells = {"age": [f"{a:.1f}" for a in age], "grade": list(grade), "same": ["1"] * N}
    cells["age"][3] = cells["grade"][4] = cells["age"][60] = ""
    cells["grade"][61] = "IV"
    found = cox(clinical_inputs(patients(**cells), list(cells), TRAIN, TEST), time, event)
    assert np.isfinite(found.values).all() and harrell_c(time[TEST], event[TEST], found.values[:, 0])[0] > 0.65
    older = [*cells["age"]]
    older[70] = "99"
    changed = cox(clinical_inputs(patients(**cells | {"age": older}), list(cells), TRAIN, TEST), time, event)
    assert changed.values[20, 0] > found.values[20, 0]


def test_columns_that_never_vary_are_refused() -> None:
    with pytest.raises(InputError, match="none of the clinical columns same varies"):
        clinical_inputs(patients(same=["1"] * N), ["same"], TRAIN, TEST)


@pytest.mark.parametrize(
    ("names", "columns", "validation", "message"),
    [
        (("cox",), (), False, "no baseline is called 'cox'; choose from cox_clinical, cox_pca"),
        (("logistic_pca",), (), False, "no baseline is called 'logistic_pca'"),
        (("cox_clinical_pca",), (), False, "'cox_clinical_pca' needs columns of the manifest"),
        (("cox_clinical_model",), ("age",), False, "set epoch_selection to 'validation'"),
    ],
)
def test_baselines_that_cannot_be_fitted_are_named(
    names: tuple, columns: tuple, validation: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_baselines(names, "cox", columns, validation)
