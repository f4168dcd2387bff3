"""dirl.json as a user runs it, and its encoder through the configs that H-MGDM's goes through."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from hmgdm_monai.engines.dirl_iteration import DiRLIteration
from hmgdm_monai.errors import input_error_in

CONFIGS = Path(__file__).parents[2] / "bundle/configs"
DIRL = ("train.json", "dirl.json")


def result(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from hmgdm_monai.saving.encoder_file import load_encoder

    return json.loads((folder / "metrics.json").read_text()), load_encoder(folder / "model.pt").weights()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="session")
def dirl_run(workflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in miniature with a teacher, which has the most state, in one go."""
    folder = tmp_path_factory.mktemp("dirl") / "run"
    workflow(folder, DIRL).run()
    return folder


def test_a_run_leaves_model_metrics_and_figures(dirl_run: Path) -> None:
    metrics, _ = result(dirl_run)
    assert "Synthetic" in metrics["data"]
    assert {path.name for path in (dirl_run / "figures").iterdir()} == {"curves.png", "views.png", "attention.png"}
    first, second, third = metrics["dirl"]["history"]
    assert 0 < first["attention_entropy"] <= 1 and 0 < first["attention_share_60"] <= 1
    assert {"attention_gini", "attention_head_cosine", "attention_on_cell", "collapse_rank"} <= set(first)
    assert "probe_balanced_accuracy" in first and "probe_balanced_accuracy" not in second
    assert metrics["regions"]["prior"]["prior"] == "nuclei"
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{dirl_run / 'mlruns.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'hmgdm_pretraining'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "dirl"
    logged = client.get_metric_history(run.info.run_id, "attention_gini")
    assert {m.step: m.value for m in logged} == pytest.approx(
        {e["epoch"]: e["attention_gini"] for e in (first, second, third)}
    )


def test_killed_again_and_again_equals_one_go(
    dirl_run: Path, workflow: Callable[..., Any], kill_at: Callable, killed: type, tmp_path: Path
) -> None:
    for step in (2, 5):  # before the first checkpoint, and in a later epoch
        torch.manual_seed(step)  # another process begins with another state
        kill_at(DiRLIteration, step)
        with pytest.raises(killed):
            workflow(tmp_path, DIRL).run()
    workflow(tmp_path, DIRL, run_id="run").run()
    (metrics, weights), (whole, whole_weights) = result(tmp_path), result(dirl_run)
    assert metrics["dirl"] == whole["dirl"]
    assert same(weights, whole_weights)
    with pytest.raises(RuntimeError) as caught:  # other settings do not get in
        workflow(tmp_path, DIRL, dense_weight=0.0).run()
    assert "loss.dense_weight 1.0, not 0.0" in str(input_error_in(caught.value))


@pytest.mark.parametrize(
    "settings",
    [
        {"dense_weight": 0.0},
        {"prior::name": "superpixels", "prior::max_superpixels": 60},
    ],
    ids=["vanilla", "superpixels"],
)
def test_variants_are_config_values(settings: dict[str, Any], workflow: Callable[..., Any], tmp_path: Path) -> None:
    workflow(tmp_path, DIRL, max_epochs=1, **settings).run()
    metrics, _ = result(tmp_path)
    (record,) = metrics["dirl"]["history"]
    assert record["loss"] > 0 and ("attention_on_cell" in record) == ("prior::name" not in settings)


def test_imported_cells_and_what_is_wrong_with_them(
    workflow: Callable[..., Any], small_cohort: Path, tmp_path: Path
) -> None:
    folder = small_cohort.parent
    rows = ["image,patient,cells"]
    for number in range(4):
        cells = np.zeros((256, 256) if number else (100, 100), np.int32)
        cells[20:60, 20:60] = 1
        np.save(tmp_path / f"cells_{number}.npy", cells)
        slide = folder / "slides" / f"patient_{number:02d}.tif"
        rows.append(f"{slide},patient_{number:02d},{tmp_path / f'cells_{number}.npy'}")
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    given = {"manifest": str(tmp_path / "m.csv"), "max_epochs": 1, "prior::name": "imported"}
    workflow(tmp_path / "run", DIRL, **given).run()
    metrics, _ = result(tmp_path / "run")
    (note,) = metrics["regions"]["notes"]
    assert "100 x 100" in note and "256 x 256" in note and "\n" not in note


def test_too_few_tiles_for_a_batch_are_told(workflow: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path, DIRL, batch_size=100).run()
    assert "20 tiles, fewer than a batch of 100; set batch_size to 20 or less" in str(input_error_in(caught.value))
    assert not (tmp_path / "model.pt").exists()


def test_monai_finds_every_property(dirl_run: Path, workflow: Callable[..., Any]) -> None:
    assert workflow(dirl_run, DIRL).check_properties() == []


@pytest.mark.parametrize("mode", ["linear", "knn", "finetune"])
def test_its_encoder_classifies(
    mode: str, dirl_run: Path, workflow: Callable[..., Any], labeled_tiles: Path, tmp_path: Path
) -> None:
    given = {"manifest": str(labeled_tiles), "model": str(dirl_run / "model.pt"), "mode": mode, "max_epochs": 1}
    workflow(tmp_path, ("classify.json",), run_id="run", **given).run()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert 0 <= metrics["overall"]["balanced_accuracy"] <= 1
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 12


def test_its_encoder_gives_embeddings_maps_and_survival(dirl_run: Path, small_cohort: Path, tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow

    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.saving.encoder_file import load_encoder

    encoder = load_encoder(dirl_run / "model.pt")
    network = build_classifier(encoder, "finetune", {"num_classes": 2})
    save_classifier(tmp_path / "c.pt", network, "finetune", {"num_classes": 2}, ["a", "b"], ["p"], 0)
    run = ConfigWorkflow(
        workflow_type="infer",
        config_file=str(CONFIGS / "inference.json"),
        logging_file=False,
        manifest=str(small_cohort),
        model=str(dirl_run / "model.pt"),
        output_dir=str(tmp_path / "inference"),
        classifier=str(tmp_path / "c.pt"),
        patient_model=None,
        device="cpu",
        superpixel_tiles=1,
    )
    run.initialize()
    run.run()
    maps = {path.name for path in (tmp_path / "inference/maps").iterdir()}
    assert "patient_00_pc1.png" in maps and any(name.endswith("attention.geojson") for name in maps)
    with h5py.File(tmp_path / "inference/embeddings/patient_00.h5") as file:
        assert file["features"].shape[1] == 32  # class token and mean of the patches, 16 each
    rows = [f"{small_cohort.parent / 'slides' / f'patient_{i:02d}.tif'},p{i},{i + 1},1" for i in range(4)]
    (tmp_path / "s.csv").write_text("\n".join(["image,patient,time,event", *rows]) + "\n")
    from hmgdm_monai.tasks.patients.data import PatientData
    from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget

    bags = PatientData(tmp_path / "s.csv", [SurvivalTarget()], dirl_run / "model.pt", tmp_path / "features").bags
    assert len(bags) == 4 and bags[0].x.shape[1] == 32
