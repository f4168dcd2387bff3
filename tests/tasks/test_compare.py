"""Comparison of two runs: paired differences, and refusals that name the first difference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hmgdm_monai.__main__ import main
from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.class_scores import ClassOutcome, score_classes, score_grades
from hmgdm_monai.metrics.fold_scores import score_folds
from hmgdm_monai.metrics.survival import FoldOutcome, score_survival
from hmgdm_monai.tasks.compare import compare_runs
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.tiles.fold_result import FoldResult
from hmgdm_monai.tasks.tiles.report import ClassificationReport

PATIENTS = 60
FOLD = np.arange(PATIENTS) % 3
RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 2, PATIENTS)
TIME = RNG.exponential(10, PATIENTS).round(2) + 0.01
EVENT = RNG.integers(0, 2, PATIENTS)


def write(folder: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "predictions.csv").write_text(csv_text([header, *rows]))
    return folder


def classes_run(folder: Path, noise: float, tiles: int = 1, order: Sequence[int] = range(PATIENTS), **change) -> Path:
    """A run of tiles, or of patients if ``tiles`` is 0; ``change`` replaces columns of the first patient."""
    rng, rows = np.random.default_rng(1), []
    for n in order:
        p = 1 / (1 + np.exp(-(2 * LABEL[n] - 1 + noise * rng.normal())))
        row = {"patient": f"p{n}", "fold": FOLD[n], "label": "ab"[LABEL[n]], "predicted": "ab"[int(p > 0.5)]}
        row |= {"probability_a": f"{1 - p:.6f}", "probability_b": f"{p:.6f}"} | (change if n == 0 else {})
        if tiles:
            rows += [{"id": f"s{n}", "x_px": 10 * t, "y_px": 0, **row} for t in range(tiles)]
        else:
            rows.append({"model": "amil", **row})
            rows.append({"model": "other", **row, "probability_a": "0.5", "probability_b": "0.5"})
    return write(folder, list(rows[0]), [list(row.values()) for row in rows])


def survival_run(folder: Path, noise: float) -> Path:
    risk = -np.log(TIME) + noise * np.random.default_rng(2).normal(size=PATIENTS)
    rows = [("amil", f"p{n}", FOLD[n], f"{TIME[n]:g}", EVENT[n], f"{risk[n]:.6g}", "high") for n in range(PATIENTS)]
    return write(folder, ("model", "patient", "fold", "time", "event", "risk", "group"), rows)


def test_each_run_has_its_scores_and_the_better_one_wins(tmp_path: Path) -> None:
    good, bad = classes_run(tmp_path / "good", 0.5, tiles=0), classes_run(tmp_path / "bad", 4.0, tiles=0)
    found = compare_runs(good, bad, num_bootstrap=100, output=tmp_path / "compare.json")
    table = [line.split(",") for line in (good / "predictions.csv").read_text().splitlines()[1::2]]
    probability = np.array([line[-2:] for line in table], float)
    folds = [ClassOutcome(LABEL[FOLD == n], probability[FOLD == n]) for n in range(3)]
    wanted = score_folds(folds, score_classes, num_bootstrap=0)
    for name, row in found["scores"].items():
        assert row["first"] == pytest.approx(wanted[name]["value"])
        assert row["difference"]["value"] == pytest.approx(row["first"] - row["second"])
    assert found["scores"]["auc"]["difference"]["low"] > 0 > found["scores"]["brier"]["difference"]["high"]
    assert json.loads((tmp_path / "compare.json").read_text()) == found
    assert (found["patients"], found["folds"], found["kind"]) == (PATIENTS, 3, "classes")
    assert found["first"]["model"] == "amil" and "quadratic_kappa" not in found["scores"]
    (good / "metrics.json").write_text(json.dumps({"models": {"amil": {"quadratic_kappa": {}}}}))  # a run of grades
    kappa = compare_runs(good, bad, num_bootstrap=0)["scores"]["quadratic_kappa"]["first"]
    assert kappa == pytest.approx(score_folds(folds, score_grades, num_bootstrap=0)["quadratic_kappa"]["value"])


def test_two_models_of_one_run(tmp_path: Path) -> None:
    run = classes_run(tmp_path / "run", 0.5, tiles=0)
    found = compare_runs(run, run, "other", "amil", num_bootstrap=5)
    assert found["scores"]["auc"]["first"] == 0.5 and found["scores"]["auc"]["difference"]["value"] < -0.3
    with pytest.raises(InputError, match="no model is called 'x'; its models are amil, other"):
        compare_runs(run, run, "x")


def test_the_order_of_rows_does_not_matter_and_tiles_of_a_patient_are_drawn_together(tmp_path: Path) -> None:
    one, other = classes_run(tmp_path / "one", 0.5), classes_run(tmp_path / "other", 2.0)
    wanted = compare_runs(one, other, num_bootstrap=30)["scores"]
    text = (one / "predictions.csv").read_text().splitlines()
    (one / "predictions.csv").write_text("\n".join([text[0], *reversed(text[1:])]))
    assert compare_runs(one, other, num_bootstrap=30)["scores"] == wanted
    many = [classes_run(tmp_path / f"many_{noise}", noise, tiles=4) for noise in (0.5, 2.0)]
    found = compare_runs(*many, num_bootstrap=30)["scores"]
    for key in ("value", "low", "high"):
        assert found["auc"]["difference"][key] == pytest.approx(wanted["auc"]["difference"][key])


def test_scores_of_survival_take_the_training_patients_from_the_other_folds(tmp_path: Path) -> None:
    good, bad = survival_run(tmp_path / "good", 0.3), survival_run(tmp_path / "bad", 5.0)
    found = compare_runs(good, bad, num_bootstrap=10)["scores"]
    risk = np.array([line.split(",")[5] for line in (good / "predictions.csv").read_text().splitlines()[1:]], float)
    folds = []
    for n in range(3):
        s = FOLD == n
        folds.append(FoldOutcome(TIME[s], EVENT[s], risk[s], TIME[~s], EVENT[~s]))
    wanted = score_folds(folds, score_survival, num_bootstrap=0)
    assert set(found) == {"harrell_c", "uno_c", "auc"}
    assert {name: row["first"] for name, row in found.items()} == {
        name: pytest.approx(wanted[name]["value"]) for name in found
    }
    assert found["harrell_c"]["difference"]["value"] > 0.2


def test_numbers(tmp_path: Path) -> None:
    rows = [(f"p{n}", n % 2, n, n + 1) for n in range(8)]
    one = write(tmp_path / "one", ("patient", "fold", "value", "prediction"), rows)
    other = write(tmp_path / "other", ("patient", "fold", "value", "prediction"), [(*r[:3], r[2] + 3) for r in rows])
    found = compare_runs(one, other, num_bootstrap=10)["scores"]["mae"]
    assert (found["first"], found["second"]) == (1, 3)
    assert [found["difference"][key] for key in ("value", "low", "high")] == [-2, -2, -2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": 2}, r"other/predictions.csv: patient p0 has fold 2, but 0 in .*one/predictions.csv; compare runs"),
        ({"patient": "p99"}, r"other/predictions.csv: patient p0 is missing, which .*one/predictions.csv has"),
        ({"label": "ab"[1 - LABEL[0]]}, r"patient p0 has label ., but . in"),
        ({"label": "c"}, "patient p0 has label c"),
    ],
)
def test_other_folds_or_patients_are_refused_in_one_line(tmp_path: Path, change: dict, message: str) -> None:
    one, other = classes_run(tmp_path / "one", 1.0, tiles=0), classes_run(tmp_path / "other", 1.0, tiles=0, **change)
    with pytest.raises(InputError, match=message) as refused:
        compare_runs(one, other)
    assert "\n" not in str(refused.value)


def test_other_tables_are_refused(tmp_path: Path) -> None:
    tiles, survival = classes_run(tmp_path / "tiles", 1.0), survival_run(tmp_path / "survival", 1.0)
    with pytest.raises(InputError, match="predicts classes, but .* predicts survival"):
        compare_runs(tiles, survival)
    with pytest.raises(InputError, match="there is no predictions.csv"):
        compare_runs(tmp_path, survival)
    with pytest.raises(InputError, match=r"the tile of s0 at \(10, 0\) px of patient p0 is missing"):
        compare_runs(tiles, classes_run(tmp_path / "two", 1.0, tiles=2))
    text = (survival / "predictions.csv").read_text()
    for new, message in (
        (text.replace(",high\n", ",high,\n", 1), "line 2: the row does not have 7 cells"),
        (text.replace("p1,", "p0,", 1), "patient p0 occurs twice"),
        (text.replace("risk", "score"), "are not those of survival"),
        (
            text.replace("risk,group\n", "risk,group\namil,x,0,soon,1,1,high\n"),
            "line 2: time must be a number, not 'soon'",
        ),
        (text.splitlines()[0] + "\n", "has no rows"),
    ):
        (survival / "predictions.csv").write_text(new)
        with pytest.raises(InputError, match=message):
            compare_runs(survival, survival)


def test_what_a_run_of_tiles_writes_is_read(tmp_path: Path) -> None:
    tiles = [
        SimpleNamespace(
            info=SimpleNamespace(row_id=f"s{n}", location_px=(256 * n, 0)), patient=f"p{n // 2}", label="ab"[n % 2]
        )
        for n in range(8)
    ]
    data = SimpleNamespace(classes=("a", "b"), tiles=tiles)
    results = []
    for number, test in enumerate((np.arange(4), np.arange(4, 8))):
        probability = np.random.default_rng(number).dirichlet([1, 1], 4)
        results.append(FoldResult(Fold(test, test, test, number), probability, {}, []))
    (tmp_path / "predictions.csv").write_text(ClassificationReport(tmp_path, data, "linear").predictions(results))
    found = compare_runs(tmp_path, tmp_path, num_bootstrap=5)
    outcomes = [ClassOutcome(np.array([0, 1, 0, 1]), result.probabilities) for result in results]
    wanted = score_folds(outcomes, score_classes, num_bootstrap=0)["auc"]["value"]
    assert found["patients"] == 4 and found["scores"]["auc"]["first"] == pytest.approx(wanted)
    assert found["scores"]["auc"]["difference"]["value"] == 0


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = classes_run(tmp_path / "one", 0.5, tiles=0), classes_run(tmp_path / "other", 3.0, tiles=0)
    main(["compare", str(one), str(other), "--num_bootstrap", "20", "--output", str(tmp_path / "compare.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("one (amil)") and lines[2].startswith("60 patients in 3 folds")
    scores = json.loads((tmp_path / "compare.json").read_text())["scores"]
    assert [line.split()[0] for line in lines[4:]] == list(scores)
    assert f"{scores['auc']['difference']['value']:.3f}" in lines[4]
