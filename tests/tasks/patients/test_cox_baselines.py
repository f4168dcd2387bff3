"""Cox baselines: fitted on the training side alone, on numbers and categories with gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival import harrell_c
from hmgdm_monai.tasks.patients.bags import Patient
from hmgdm_monai.tasks.patients.cox_baselines import cox_on_columns, cox_on_pca

N = 80
TRAIN, TEST = np.arange(50), np.arange(50, N)


def outcomes(log_hazard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    death, end = rng.exponential(np.exp(-log_hazard)), rng.exponential(3, N)
    return np.minimum(death, end) + 1e-3, (death <= end).astype(int)


def patients(**columns: list[str]) -> list[Patient]:
    return [Patient(str(n), 1.0, 1, (Path("x"),), None, {k: v[n] for k, v in columns.items()}) for n in range(N)]


def test_the_direction_of_risk_is_found_in_many_channels() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(N, 3)) * [3, 2, 1]
    features = hidden @ rng.normal(size=(3, 200)) + 0.1 * rng.normal(size=(N, 200))
    time, event = outcomes(hidden[:, 1])
    times = np.quantile(time[TRAIN], [0.0, 0.3, 0.6])
    found = cox_on_pca(features, time, event, TRAIN, TEST, times)
    assert harrell_c(time[TEST], event[TEST], found.risk)[0] > 0.75
    assert found.survival.shape == (len(TEST), 3) and (np.diff(found.survival, axis=1) <= 0).all()
    # Nothing of the test side is read in fitting.
    time[TEST], event[TEST] = 5.0, 1
    changed = features.copy()
    changed[TEST[1:]] *= 50
    again = cox_on_pca(changed, time, event, TRAIN, TEST, times)
    np.testing.assert_allclose(again.train_risk, found.train_risk)
    assert again.risk[0] == pytest.approx(found.risk[0])


def test_numbers_and_categories_with_gaps_and_unknown_values() -> None:
    rng = np.random.default_rng(0)
    age, grade = rng.normal(60, 10, N), rng.choice(["I", "II", "III"], N)
    time, event = outcomes((age - 60) / 10 + (grade == "III") * 1.5)
    cells = {"age": [f"{a:.1f}" for a in age], "grade": list(grade), "same": ["1"] * N}
    cells["age"][3] = cells["grade"][4] = cells["age"][60] = ""
    cells["grade"][61] = "IV"
    found = cox_on_columns(patients(**cells), list(cells), time, event, TRAIN, TEST, np.array([0.1]))
    assert np.isfinite(found.risk).all() and harrell_c(time[TEST], event[TEST], found.risk)[0] > 0.65
    older = [*cells["age"]]
    older[70] = "99"
    changed = cox_on_columns(patients(**cells | {"age": older}), list(cells), time, event, TRAIN, TEST, np.array([0.1]))
    assert changed.risk[20] > found.risk[20]


def test_columns_that_never_vary_are_refused() -> None:
    time, event = outcomes(np.zeros(N))
    with pytest.raises(InputError, match="none of the clinical columns same varies"):
        cox_on_columns(patients(same=["1"] * N), ["same"], time, event, TRAIN, TEST, np.array([0.1]))
