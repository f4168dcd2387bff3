"""Cross-validation of survival models on synthetic features: no leaks, resumed by fold, same seed same numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from common.fold_trainings import patient_config, patient_parts

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.errors import InputError, input_error_in
from hmgdm_monai.metrics.survival import harrell_c
from hmgdm_monai.saving.patient_file import load_patient_model
from hmgdm_monai.tasks.compare import compare_runs
from hmgdm_monai.tasks.patients import cross_validation as patient_cross_validation
from hmgdm_monai.tasks.patients.cross_validation import PatientCrossValidation
from hmgdm_monai.tasks.patients.data import PatientData
from hmgdm_monai.tasks.patients.fold import predict, train_fold
from hmgdm_monai.tasks.patients.report import PatientReport
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget
from hmgdm_monai.transforms.tile_graph import TileGraph

TARGET = SurvivalTarget()
QUICK = {"max_epochs": 6, "learning_rate": 0.01, "batch_size": 16}


def write_cohort(folder: Path, patients: int = 40, **replace: list[str]) -> Path:
    """Every fifth patient has two slides; the first channel of the tiles carries the log hazard."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(patients):
        log_hazard = rng.normal() * 3
        death, end = rng.exponential(30 * np.exp(-log_hazard)), rng.uniform(10, 90)
        time, event = f"{min(death, end) + 0.1:.2f}", str(int(death <= end))
        for slide in range(1 + (n % 5 == 0)):
            tiles = int(rng.integers(3, 12))
            features = rng.normal(size=(tiles, 6))
            features[:, 0] += log_hazard
            write_features(folder / f"s{n}_{slide}.h5", features, rng.integers(0, 9, (tiles, 2)) * 256)
            cells = {"time": time, "event": event, "site": f"h{n % 8}", "age": str(60 + n % 7), "sex": "mf"[n % 2]}
            cells |= {name: values[n] for name, values in replace.items()}
            name = f"s{n}_{slide}.h5"
            rows.append({"image": name, "patient": f"p{n}", "features": name, **cells})
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def cross_validation(manifest: Path, folder: Path, training: dict | None = None, **settings) -> PatientCrossValidation:
    data = PatientData(
        manifest, [SurvivalTarget()], graph=TileGraph(2, 2), clinical_columns=settings.pop("clinical_columns", ())
    )
    training = QUICK | (training or {})
    config, name = patient_config(data, folder, **training), training.get("aggregator", "amil")
    return PatientCrossValidation(data, config, name, folder, **{"n_folds": 3, "baselines": (), **settings})


def risks(run: PatientCrossValidation) -> dict[str, float]:
    return {
        p: r
        for fold in run.run()["event"]["amil"]
        for p, r in zip(fold.patients, fold.prediction.values[:, 0], strict=True)
    }


def test_a_run_leaves_scores_predictions_and_curves(manifest: Path, tmp_path: Path) -> None:
    run = cross_validation(
        manifest,
        tmp_path / "folds",
        {"max_epochs": 12},
        baselines=("cox_pca", "cox_clinical"),
        clinical_columns=("age", "sex"),
        pca_components=6,
    )
    metrics = PatientReport(tmp_path, run, num_bootstrap=10).run()
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["models"]) == ["amil", "cox_clinical", "cox_pca"]
    assert metrics["cohort"]["patients"] == 40 and metrics["cohort"]["slides"] == 48
    for name in ("amil", "cox_pca"):  # the hazard is plain to see in the features
        assert metrics["models"][name]["harrell_c"]["value"] > 0.7
        assert metrics["models"][name]["integrated_brier"]["value"] < 0.25
        assert metrics["models"][name]["log_rank_p"] < 0.05
    with (tmp_path / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "amil"]
    assert sorted(row["patient"] for row in rows) == sorted(f"p{n}" for n in range(40))
    # The convention, on what a user reads: higher risk, earlier death; high is above the training median.
    time, event, risk = (np.array([float(row[key]) for row in rows]) for key in ("time", "event", "risk"))
    assert harrell_c(time, event, risk)[0] > 0.7
    for fold in (0, 1, 2):
        median = load_patient_model(tmp_path / "folds" / f"fold_{fold}.pt").fitted["median_risk"]
        assert all((float(r["risk"]) > median) == (r["group"] == "high") for r in rows if r["fold"] == str(fold))
    for name in ("km.png", "km_cox_pca.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert not list((tmp_path / "folds").glob("*.epochs.pt"))
    # What a comparison reads is what the report has scored.
    compared = compare_runs(tmp_path, tmp_path, "amil", "cox_pca", num_bootstrap=5)["scores"]
    for name, row in compared.items():
        for key, model in (("first", "amil"), ("second", "cox_pca")):
            assert row[key] == pytest.approx(metrics["models"][model][name]["value"], abs=1e-6)
    ratios = metrics["hazard_ratios"]["together"]
    assert list(ratios) == ["risk of amil, per SD", "age, per SD (1.96)", "sex: m against f"]
    assert ratios["risk of amil, per SD"]["low"] > 1


@pytest.mark.parametrize(
    "training",
    [
        {"aggregator": "mean"},
        {"aggregator": "patch_gcn", "loss::ties": "breslow"},
        {"aggregator": "deep_graph_conv", "epoch_selection": "validation"},
        {"aggregator": "clam"},
        {"aggregator": "transformer"},
        {"aggregator": "spatial_gat"},
        {"loss::name": "discrete", "epoch_selection": "validation"},
    ],
)
def test_aggregators_losses_and_epoch_selection_run(manifest: Path, tmp_path: Path, training: dict) -> None:
    run = cross_validation(manifest, tmp_path, training, n_folds=2)
    (folds,) = run.run()["event"].values()
    for fold in folds:
        survival = fold.prediction.curves
        assert ((survival >= 0) & (survival <= 1)).all() and (np.diff(survival, axis=1) <= 1e-9).all()
        about = load_patient_model(tmp_path / f"fold_{fold.fold}.pt").about
        if training.get("epoch_selection") == "validation":
            losses = [record["val_loss"] for record in about["history"]]
            assert about["epoch"] == 1 + int(np.argmin(losses))
        else:
            assert about["epoch"] == QUICK["max_epochs"]


def test_predictions_of_a_fold_come_from_a_model_that_never_saw_its_patients(manifest: Path, tmp_path: Path) -> None:
    """Other outcomes and other features of the test patients leave the model as it was, to the last bit."""
    data = PatientData(manifest, [TARGET])
    fold = data.folds(3, 0)[0]
    development = set(fold.development.tolist())
    assert development.isdisjoint(fold.test) and len(development) + len(fold.test) == 40
    models = []
    for changed in (False, True):
        folder = tmp_path / str(changed)
        folder.mkdir()
        bags = PatientData(write_cohort(folder), [TARGET]).bags
        if changed:
            rng = np.random.default_rng(1)
            patients = list(bags.patients)
            for place in fold.test:
                for (path,) in patients[place].features:
                    write_features(path, rng.normal(size=(5, 6)) * 100)
                time, event = patients[place].values["event"]
                object.__setattr__(patients[place], "values", {"event": (time + 1.0 + place, 1 - event)})
        models.append(train_fold(patient_parts(bags, TARGET, fold, folder, **QUICK), bags))
    for name, value in models[0].network.state_dict().items():
        assert torch.equal(value, models[1].network.state_dict()[name]), name
    assert models[0].fitted == models[1].fitted


def test_what_a_model_file_says_is_what_was_reported(manifest: Path, tmp_path: Path) -> None:
    run = cross_validation(manifest, tmp_path)
    (fold, *_) = run.run()["event"]["amil"]
    model = load_patient_model(tmp_path / f"fold_{fold.fold}.pt")
    names = [patient.id for patient in run.data.patients]
    places = [names.index(patient) for patient in fold.patients]
    assert not set(model.about["patients"]) & set(fold.patients)
    np.testing.assert_allclose(
        model.loss.risk(predict(model, run.data.bags, places)).numpy(), fold.prediction.values[:, 0], rtol=1e-5
    )


def test_a_finished_fold_is_not_run_again_unless_something_changed(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    original = patient_cross_validation.train_fold

    def counted(parts, bags):
        trained.append(parts.get_parsed_content("fold").number)
        return original(parts, bags)

    monkeypatch.setattr(patient_cross_validation, "train_fold", counted)
    first = risks(cross_validation(manifest, tmp_path))
    assert trained == [0, 1, 2]
    (tmp_path / "fold_1.json").unlink()
    assert risks(cross_validation(manifest, tmp_path)) == first and trained == [0, 1, 2, 1]
    assert risks(cross_validation(manifest, tmp_path, {"max_epochs": 2})) != first and trained[4:] == [0, 1, 2]


def test_an_interrupted_fold_ends_as_an_uninterrupted_one(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PatientData(manifest, [TARGET])
    bags, fold = data.bags, data.folds(3, 0)[0]
    whole = train_fold(patient_parts(bags, TARGET, fold, tmp_path / "whole", **QUICK), bags)

    from hmgdm_monai.engines.patient_iteration import PatientIteration

    step = PatientIteration.__call__

    def killed(self, engine, batch):
        if engine.state.epoch == 4:
            raise KeyboardInterrupt
        return step(self, engine, batch)

    with monkeypatch.context() as patched:
        patched.setattr(PatientIteration, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            train_fold(patient_parts(bags, TARGET, fold, tmp_path / "part", **QUICK), bags)
    resumed = train_fold(patient_parts(bags, TARGET, fold, tmp_path / "part", **QUICK), bags)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert [record["loss"] for record in whole.about["history"]] == [r["loss"] for r in resumed.about["history"]]


def test_the_seed_alone_decides(manifest: Path, tmp_path: Path) -> None:
    one, same, other = (
        risks(cross_validation(manifest, tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert one == same != other


def test_bad_settings_are_named(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no baseline is called 'cox'"):
        cross_validation(manifest, tmp_path, baselines=("cox",))
    with pytest.raises(InputError, match="clinical_columns"):
        cross_validation(manifest, tmp_path, baselines=("cox_clinical",))
    with pytest.raises(RuntimeError) as raised:  # MONAI's, around ours
        cross_validation(manifest, tmp_path, {"epoch_selection": "best"}).prepare()
    assert "epoch_selection must be" in str(input_error_in(raised.value))
    with pytest.raises(RuntimeError) as raised:
        cross_validation(manifest, tmp_path, {"loss::name": "mse"}).run()
    assert "no survival loss is called 'mse'" in str(input_error_in(raised.value))
