"""Targets: columns of a table to outcomes, folds, tables of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.targets.build import class_targets, number_targets, target_of
from hmgdm_monai.tasks.patients.targets.classes import ClassTarget, GradeTarget
from hmgdm_monai.tasks.patients.targets.numbers import NumberTarget
from hmgdm_monai.tasks.patients.targets.prediction import Prediction
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget


def table(folder: Path, *cells: str) -> tuple[Path, list[ManifestRow]]:
    """A slide per cell; the first two belong to one patient."""
    patients = ["p0", *(f"p{n}" for n in range(len(cells) - 1))]
    lines = [f"{patient},{cell}" for patient, cell in zip(patients, cells, strict=True)]
    (folder / "m.csv").write_text("\n".join(["patient,x", *lines]))
    rows = [ManifestRow(folder / str(n), patient, n + 2) for n, patient in enumerate(patients)]
    return folder / "m.csv", rows


def test_classes_are_sorted_gaps_are_filled_and_contradictions_named(tmp_path: Path) -> None:
    target = ClassTarget("x")
    values, faults = target.read(*table(tmp_path, "", "wild type", "mutant", "", "mutant"))
    assert target.classes == ("mutant", "wild type")
    assert values == {"p0": (1.0,), "p1": (0.0,), "p3": (0.0,)} and faults == {"p2": "has no x"}
    _, faults = ClassTarget("x").read(*table(tmp_path, "a", "b", "a"))
    assert faults == {"p0": "has more than one x: a (line 2), b (line 3)"}


def test_classes_that_are_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    target = GradeTarget("x")
    values, _ = target.read(*table(tmp_path, "10", "", "9.0", "2"))
    assert target.classes == ("2", "9", "10") and values == {"p0": (2.0,), "p1": (1.0,), "p2": (0.0,)}
    with pytest.raises(InputError, match="the order of high, low in column 'x' is not known; give the setting classes"):
        GradeTarget("x").read(*table(tmp_path, "low", "low", "high"))


def test_given_classes_leave_others_out(tmp_path: Path) -> None:
    target = GradeTarget("x", ["low", "high"])
    values, faults = target.read(*table(tmp_path, "low", "low", "high", "unknown"))
    assert values == {"p0": (0.0,), "p1": (1.0,)}
    assert faults == {"p2": "x is 'unknown', none of the classes low, high"}


def test_numbers_are_read_and_words_named(tmp_path: Path) -> None:
    values, faults = NumberTarget("x").read(*table(tmp_path, "1.5", "", "-2e3", "many"))
    assert values == {"p0": (1.5,), "p1": (-2000.0,)} and faults == {"p2": "x must be a number, not 'many'"}
    with pytest.raises(InputError, match="no patient has a number in column 'x'"):
        NumberTarget("x").read(*table(tmp_path, "a", "a"))
    with pytest.raises(InputError, match="column 'y' missing"):
        NumberTarget("y").read(*table(tmp_path, "1", "1"))


def test_numbers_are_stratified_by_quantile() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    strata = NumberTarget("x").strata(values)
    assert np.bincount(strata).tolist() == [10] * 5
    assert (np.diff(strata[np.argsort(values[:, 0])]) >= 0).all()
    assert len(np.unique(NumberTarget("x").strata(np.ones((9, 1))))) == 1


def test_tables_hold_what_was_predicted() -> None:
    target = ClassTarget("x", ["a", "b", "c"])
    prediction = Prediction(np.array([[0.2, 0.7, 0.1]]))
    assert target.prediction_columns == ("predicted", "probability_a", "probability_b", "probability_c")
    assert target.prediction_cells(prediction) == [("b", "0.200000", "0.700000", "0.100000")]
    assert target.outcome_cells(np.array([[2.0]])) == [("c",)]
    assert target.count(np.array([[2.0], [2.0], [0.0]])) == {"classes": {"a": 1, "b": 0, "c": 2}}
    assert target.score(target.outcome(np.array([[1.0]]), prediction))["balanced_accuracy"] == (1.0, 1.0)


@pytest.mark.parametrize(
    "target", [SurvivalTarget("t", "e"), ClassTarget("x", ["a", "b"]), GradeTarget("x", [1, 2]), NumberTarget("x")]
)
def test_targets_are_rebuilt_from_a_model_file_with_other_columns(target) -> None:
    again = target_of(target.settings)
    assert type(again) is type(target) and again.settings == target.settings
    names = {"target_column": "new", "time_column": None, "event_column": "death"}
    assert target_of(target.settings, names).name == ("death" if target.kind == "survival" else "new")


def test_columns_are_given_once() -> None:
    assert [one.name for one in class_targets(["a", "b"])] == ["a", "b"]
    assert isinstance(class_targets("a", ordered=True)[0], GradeTarget)
    with pytest.raises(InputError, match="each once, not a, a"):
        number_targets(["a", "a"])
    with pytest.raises(InputError, match="two names or more"):
        class_targets("a", ["x"])


def test_an_ensemble_of_survival_models_has_the_mean_risk_and_cut() -> None:
    target = SurvivalTarget()
    outcomes = [np.array([[1.0, 1], [2, 0]]), np.array([[2.0, 0], [5, 1], [7, 1]])]
    fitted = [target.describe_training(values) for values in outcomes]
    common = target.common_training(fitted, [["a", "b"], ["b", "c", "d"]])
    assert sorted(zip(common["train_time"], common["train_event"], strict=True)) == [(1, 1), (2, 0), (5, 1), (7, 1)]
    assert set(common["times"]) == {*fitted[0]["times"], *fitted[1]["times"]}
    curves = np.ones((2, len(common["times"])))
    risks = (np.array([[0.0], [2.0]]), np.array([[4.0], [8.0]]))
    merged = target.merge(
        [Prediction(r, common | {"median_risk": m}, curves * m) for r, m in zip(risks, (1, 4), strict=True)]
    )
    np.testing.assert_allclose(merged.values, [[2.0], [5.0]])
    np.testing.assert_allclose(merged.spread, np.std(risks, 0, ddof=1))
    assert merged.fitted["median_risk"] == 2.5 and (merged.curves == 2.5).all()
    assert [cells[1] for cells in target.prediction_cells(merged)] == ["low", "high"]
