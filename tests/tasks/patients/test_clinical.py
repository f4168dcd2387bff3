"""Clinical columns as numbers, and which of them have hazard ratios."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.tasks.patients.clinical import columns_for_ratios, encode_column


def test_numbers_and_categories_are_named_and_gaps_filled_by_the_training_side() -> None:
    found = encode_column("age", ["1", "3", "", "100"], np.arange(3))
    assert {name: values.tolist() for name, values in found.items()} == {"age": [1, 3, 2, 100]}
    found = encode_column("stage", ["II", "I", "I", "", "III", "II"], np.arange(5))
    assert {name: values.tolist() for name, values in found.items()} == {
        "stage: II against I": [1, 0, 0, 0, 0, 1],
        "stage: III against I": [0, 0, 0, 0, 1, 0],
    }
    assert encode_column("stage", ["", "x"], np.array([0]))["stage"].tolist() == [0, 0]


def test_columns_without_a_finite_ratio_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    event = np.array([1, 0] * 10)
    cells = {
        "age": [str(n) for n in range(20)],
        "same": ["7"] * 20,
        "rare": ["a"] * 17 + ["b"] * 3,
        "alive": ["ab"[n % 2] for n in range(20)],  # nobody of b died
        "sex": ["m" if n < 9 else "f" for n in range(20)],
    }
    found = columns_for_ratios(cells, event)
    assert list(found) == ["age, per SD (5.77)", "sex: m against f"]
    assert found["age, per SD (5.77)"].std() == pytest.approx(1)
    for name in ("same", "rare: b against a", "alive: b against a"):
        assert f"{name} has no hazard ratio" in caplog.text
