"""survival.json as a user runs it, on features of a small cohort."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.errors import input_error_in
from hmgdm_monai.saving.survival_file import load_survival_model, save_survival_model
from hmgdm_monai.tasks.run_lock import let_go

CONFIG = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "survival.json"
EVALUATION = (str(CONFIG), str(CONFIG.with_name("evaluate_survival.json")))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = ["image,patient,time,event,features,grade"]
    for n in range(24):
        write_features(
            tmp_path / f"s{n}.h5", rng.normal(size=(4 + n % 3, 5)) + n / 8, rng.integers(0, 9, (4 + n % 3, 2))
        )
        rows.append(f"s{n}.h5,p{n},{30 - n + (n % 4 == 0) * 20},{int(n % 4 != 0)},s{n}.h5,{'ab'[n > 12]}")
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
    saved = load_survival_model(model)
    saved.about["patients"] = [f"p{n}" for n in range(24)]
    save_survival_model(model, saved)
    with pytest.raises(RuntimeError) as raised:
        run(manifest, tmp_path / "new", EVALUATION, model=str(model))
    assert "0 patients are new to the model" in str(input_error_in(raised.value))
