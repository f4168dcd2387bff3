"""survival.json and its overrides as a user runs them, on features of a small cohort."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.errors import input_error_in
from hmgdm_monai.saving.patient_file import load_patient_model, load_patient_models, save_patient_model
from hmgdm_monai.tasks.patients.data import PatientData
from hmgdm_monai.tasks.patients.evaluation import targets_of
from hmgdm_monai.tasks.patients.fold import predict
from hmgdm_monai.tasks.run_lock import let_go

CONFIG = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "survival.json"
CLASSES, NUMBERS, CAUSES = (
    (str(CONFIG), str(CONFIG.with_name(f"{name}.json"))) for name in ("patient_classes", "regress", "competing_risks")
)
EVALUATION = (str(CONFIG), str(CONFIG.with_name("evaluate_patients.json")))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = ["image,patient,time,event,features,grade,score"]
    for n in range(24):
        write_features(
            tmp_path / f"s{n}.h5", rng.normal(size=(4 + n % 3, 5)) + n / 8, rng.integers(0, 9, (4 + n % 3, 2))
        )
        rows.append(f"s{n}.h5,p{n},{30 - n + (n % 4 == 0) * 20},{int(n % 4 != 0)},s{n}.h5,{'ab'[n > 12]},{n * 2.5}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    return tmp_path / "m.csv"


def run(manifest: Path, output_dir: Path, configs: tuple[str, ...] = (str(CONFIG),), **settings) -> dict:
    from monai.bundle import ConfigWorkflow

    folds = {} if configs == EVALUATION else {"max_epochs": 3, "n_folds": 2}
    settings = {**folds, "num_bootstrap": 5, "device": "cpu", **settings}
    workflow = ConfigWorkflow(
        list(configs), workflow_type="train", manifest=str(manifest), output_dir=str(output_dir), **settings
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return json.loads((output_dir / "metrics.json").read_text())


def test_a_run_by_config(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = run(
        manifest,
        tmp_path / "run",
        aggregator="patch_gcn",
        baselines=["cox_pca", "cox_clinical"],
        clinical_columns=["grade"],
    )
    assert list(metrics["models"]) == ["patch_gcn", "cox_clinical", "cox_pca"]
    names = set(os.listdir(tmp_path / "run"))
    assert {"metrics.json", "predictions.csv", "km.png", "folds", "settings.json", "mlruns.db"} <= names
    # More baselines are no other run: finished folds stay.
    before = (tmp_path / "run" / "folds" / "fold_0.pt").stat().st_mtime_ns
    again = run(manifest, tmp_path / "run", aggregator="patch_gcn", baselines=[])
    assert again["models"]["patch_gcn"]["harrell_c"] == metrics["models"]["patch_gcn"]["harrell_c"]
    assert (tmp_path / "run" / "folds" / "fold_0.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"manifest": "typo.csv"}, "no such manifest"),
        ({"n_folds": 30}, "too few for 30 folds"),
        ({"clinical_columns": ["age"], "baselines": ["cox_clinical"]}, "column 'age' missing"),
        ({"batch_size": 1}, "batch_size: must be a whole number, at least 2, not 1"),
    ],
)
def test_a_run_that_can_not_be_leaves_its_folder_to_the_corrected_one(
    settings: dict, told: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError) as raised:
        run(
            Path(settings.get("manifest", manifest)),
            tmp_path / "run",
            **{k: settings[k] for k in settings if k != "manifest"},
        )
    assert told in str(input_error_in(raised.value))
    let_go(tmp_path / "run")  # as the end of the process does
    assert not (tmp_path / "run").exists()
    run(manifest, tmp_path / "run", aggregator="mean", baselines=[])


def test_formulas_in_names_of_patients_are_no_formulas_in_the_predictions(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest.write_text(manifest.read_text().replace(",p3,", ",=1+0,").replace(",p4,", ",-x,"))
    run(manifest, tmp_path / "run", aggregator="mean", baselines=[])
    cells = [cell for line in (tmp_path / "run/predictions.csv").read_text().splitlines() for cell in line.split(",")]
    assert {"'=1+0", "'-x"} <= set(cells)
    assert not any(cell[:1] in "=@" or (cell[:1] in "+-" and not cell[1:2].isdigit()) for cell in cells if cell)


@pytest.mark.parametrize("aggregator", ["amil", "deep_graph_conv"])
def test_a_model_scores_its_test_fold_as_its_training_did(
    aggregator: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = run(manifest, tmp_path / "run", aggregator=aggregator, baselines=[])
    model = str(tmp_path / "run" / "folds" / "fold_1.pt")
    found = run(manifest, tmp_path / "new", EVALUATION, model=model)
    for name, score in trained["models"][aggregator].items():
        if isinstance(score, dict) and score["folds"][1] is not None:
            assert found["models"][aggregator][name]["value"] == pytest.approx(score["folds"][1], abs=1e-6)
    assert found["folds"][0]["test_patients"] == trained["folds"][1]["test_patients"]
    assert {skipped["reason"] for skipped in found["cohort"]["skipped"]} == {"the model was trained on it"}


def test_a_model_that_has_seen_everybody_is_not_scored(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(manifest, tmp_path / "run", baselines=[])
    model = tmp_path / "run" / "folds" / "fold_0.pt"
    saved = load_patient_model(model)
    saved.about["patients"] = [f"p{n}" for n in range(24)]
    save_patient_model(model, saved)
    with pytest.raises(RuntimeError) as raised:
        run(manifest, tmp_path / "new", EVALUATION, model=str(model))
    assert "patients that are new to the model: no events among its 0 patients" in str(input_error_in(raised.value))


def new_cohort(manifest: Path) -> Path:
    """The same slides, of patients with other names, without images and in columns with other names."""
    header, *rows = (line.split(",") for line in manifest.read_text().splitlines())
    names = {"time": "os_months", "event": "death", "grade": "new_grade", "score": "new_score"}
    lines = [[names.get(name, name) for name in header[1:]], *([f"new_{row[1]}", *row[2:]] for row in rows)]
    path = manifest.with_name("new.csv")
    path.write_text("\n".join(map(",".join, lines)))
    return path


KINDS = {
    "survival": ((str(CONFIG),), {}, {"time_column": "os_months", "event_column": "death"}, "harrell_c"),
    "classes": (CLASSES, {"target_column": "grade"}, {"target_column": "new_grade"}, "auc"),
    "grades": (CLASSES, {"target_column": "grade", "ordered": True, "classes": ["a", "b"]}, {}, "quadratic_kappa"),
    "numbers": (NUMBERS, {"target_column": "score", "loss#name": "huber"}, {"target_column": "new_score"}, "spearman"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_folds_of_a_run_are_an_ensemble_on_new_patients(
    kind: str, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs, settings, columns, score = KINDS[kind]
    trained = run(manifest, tmp_path / "run", configs, aggregator="mean", learning_rate=0.02, **settings)
    ours, *baselines = trained["models"]
    assert ours == "mean" and [name.split("_")[1] for name in baselines] == ["pca"]
    assert len(trained["models"]["mean"][score]["folds"]) == 2 and trained["cohort"]["patients"] == 24
    new = new_cohort(manifest)
    if kind == "grades":
        new.write_text(new.read_text().replace("new_grade", "grade"))
    found = run(new, tmp_path / "new", EVALUATION, model=str(tmp_path / "run/folds"), **columns)
    assert found["folds"][0]["test_patients"] == 24 and found["cohort"]["skipped"] == []
    assert found["models"]["mean"][score]["value"] is not None
    # The mean over models, with the spread between them.
    table = pd.read_csv(tmp_path / "new/predictions.csv")
    (spread, *_) = [name for name in table.columns if name.startswith("spread")]
    column = {"survival": "risk", "numbers": "prediction"}.get(kind, "probability_a")
    models = load_patient_models(tmp_path / "run/folds")
    bags = PatientData(new, targets_of(models, **columns)).bags
    order = {patient.id: place for place, patient in enumerate(bags.patients)}
    places = [order[patient] for patient in table["patient"]]
    singles = [model.loss.predict(predict(model, bags, np.array(places)))[:, 0].numpy() for model in models]
    np.testing.assert_allclose(table[column], np.mean(singles, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table[spread], np.std(singles, 0, ddof=1), rtol=1e-2, atol=2e-5)


def test_several_targets_are_one_run_with_the_results_of_each_alone(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = manifest.read_text().splitlines()
    stage = ["stage", *("xy"[n % 2] for n in range(24))]
    stage[5] = ""
    manifest.write_text("\n".join(f"{line},{cell}" for line, cell in zip(lines, stage, strict=True)))
    both = run(manifest, tmp_path / "both", CLASSES, target_column=["grade", "stage"], aggregator="mean")["targets"]
    alone = run(manifest, tmp_path / "alone", CLASSES, target_column="grade", aggregator="mean")
    assert both["grade"]["models"] == alone["models"]
    assert both["stage"]["cohort"]["skipped"] == [{"what": "patient p4", "reason": "has no stage"}]
    assert [sum(fold["test_patients"] for fold in both[name]["folds"]) for name in both] == [24, 23]
    table = pd.read_csv(tmp_path / "both/predictions.csv").set_index(["model", "patient"])
    assert table.notna().sum()[["grade_predicted", "stage_predicted"]].tolist() == [48, 46]  # two models
    assert (tmp_path / "both/folds/stage/fold_1.pt").exists() and (tmp_path / "both/grade/confusion.png").exists()


def test_the_model_and_clinical_columns_are_joined_on_inner_validation_patients(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"clinical_columns": ["score"], "target_column": "grade", "aggregator": "mean"}
    names = ["logistic_clinical_model", "logistic_clinical_pca", "logistic_clinical"]
    with pytest.raises(RuntimeError) as raised:
        run(manifest, tmp_path / "run", CLASSES, baselines=names, **settings)
    told = str(input_error_in(raised.value))
    assert told.startswith("epoch_selection") and "needs validation" in told
    let_go(tmp_path / "run")
    found = run(manifest, tmp_path / "run", CLASSES, baselines=names, epoch_selection="validation", **settings)
    assert list(found["models"]) == ["mean", "mean_calibrated", *names[::-1]]
    assert found["models"]["logistic_clinical"]["auc"]["value"] > 0.95  # the score tells the grade
    # Calibration and conformal sets are fitted to the same patients.
    raw, calibrated = (found["models"][name] for name in ("mean", "mean_calibrated"))
    assert raw["auc"] == calibrated["auc"] and raw["brier"] != calibrated["brier"]
    assert 0 <= raw["conformal"]["coverage"]["value"] <= 1 and "conformal" not in calibrated
    table = pd.read_csv(tmp_path / "run/predictions.csv")
    assert table[table["model"] == "mean"]["set"].isin(["a", "b", "a;b"]).all()
    assert (tmp_path / "run/calibration.png").exists()


def test_survival_reports_hazard_ratios_beside_clinical_columns_and_calibration(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    lines = manifest.read_text().splitlines()
    age = ["age", *(f"{value:.1f}" for value in rng.normal(60, 9, 24))]
    manifest.write_text("\n".join(f"{line},{cell}" for line, cell in zip(lines, age, strict=True)))
    settings = {"aggregator": "mean", "clinical_columns": ["age"], "targets#0#calibration_horizon": 12.0}
    metrics = run(manifest, tmp_path / "run", **settings)
    alone, together = (metrics["hazard_ratios"][key] for key in ("each alone", "together"))
    assert set(alone) == set(together) and list(alone)[0] == "risk of mean, per SD" and len(alone) == 2
    assert all(row["low"] < row["ratio"] < row["high"] for row in together.values())
    for name in ("mean", "cox_pca"):
        found = metrics["calibration"][name]
        assert found["horizon"] == 12.0 and sum(found["patients"]) == 24
    assert {"forest.png", "calibration.png", "km.png"} <= set(os.listdir(tmp_path / "run"))


def test_one_of_several_causes_is_predicted(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pd.read_csv(manifest)
    # The same events of interest, by another number; a third of the censored patients had an event of another cause.
    other = (table.event == 0) & (np.arange(24) % 3 == 0)
    table.assign(cause=np.where(table.event == 1, 2, np.where(other, 1, 0))).to_csv(manifest, index=False)
    wanted = run(manifest, tmp_path / "wanted", aggregator="mean")
    settings = {"aggregator": "mean", "event_column": "cause", "cause_names": {"2": "cancer"}}
    found = run(manifest, tmp_path / "run", CAUSES, cause=2, **settings)
    for name in ("mean", "cox_pca"):
        assert found["models"][name]["harrell_c"] == wanted["models"][name]["harrell_c"]
    assert {"incidence.png", "incidence_cox_pca.png"} <= set(os.listdir(tmp_path / "run"))
    assert "km.png" not in os.listdir(tmp_path / "run")
    new = manifest.with_name("new.csv")
    new_table = pd.read_csv(manifest)
    new_table.assign(patient="new_" + new_table.patient).to_csv(new, index=False)
    scored = run(new, tmp_path / "new", EVALUATION, model=str(tmp_path / "run/folds"))
    assert scored["cohort"]["died"] == int((table.event == 1).sum())
    with pytest.raises(RuntimeError) as raised:
        run(manifest, tmp_path / "no", CAUSES, cause=3, **settings)
    assert "no row has event 3, the cause of interest" in str(input_error_in(raised.value))
