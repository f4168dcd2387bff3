"""inference.json and evaluate.json, on slides in miniature and models that nobody trained."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.qupath_rules import check_feature_collection
from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.data.stores.slide_map import opened_slide_map
from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
from hmgdm_monai.errors import input_error_in
from hmgdm_monai.metrics.classification import classification_metrics
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.preparation.tile_stream import stream_slide
from hmgdm_monai.saving.classifier_file import build_classifier, load_classifier, save_classifier
from hmgdm_monai.saving.encoder_file import save_encoder

CONFIGS = Path(__file__).parents[2] / "bundle" / "configs"


@pytest.fixture(autouse=True, scope="module")
def _hook_and_threads_restored():
    hook, threads = sys.excepthook, torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    sys.excepthook = hook
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny, small_slides):
    """``cohort.csv`` of four slides of four patients and one that is missing; ``model.pt``, ``classifier.pt`` and what
    paints denoising, ``superpixels.pt``."""
    folder = tmp_path_factory.mktemp("inference")
    lines = [f"{small_slides.parent / f's{number}.tif'},p{number},{'ab'[number % 2]}" for number in range(4)]
    (folder / "cohort.csv").write_text("\n".join(["image,patient,label", *lines, "none.tif,p9,a"]) + "\n")
    encoder = tiny.encoder()
    save_encoder(folder / "model.pt", encoder)
    NearestSuperpixels(torch.randn(9, 24), torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8)).save(
        folder / "superpixels.pt"
    )
    network = build_classifier(encoder, "finetune", {"num_classes": 2})
    save_classifier(folder / "classifier.pt", network, "finetune", {"num_classes": 2}, ["a", "b"], ["p0"], 0)
    return folder


def workflow(name: str, **overrides) -> ConfigWorkflow:
    if name == "inference.json":  # its default is what a demo run left in the working directory
        overrides = {"classifier": None, "patient_model": None, **overrides}
    made = ConfigWorkflow(
        config_file=str(CONFIGS / name),
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        device="cpu",
        **{key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()},
    )
    made.initialize()
    return made


def test_inference_writes_embeddings_maps_and_figures(folder, tmp_path):
    files = {"manifest": folder / "cohort.csv", "model": folder / "model.pt", "classifier": folder / "classifier.pt"}
    run = workflow("inference.json", **files, output_dir=tmp_path / "run", superpixel_tiles=2)
    assert not run.check_properties()
    run.run()
    out = tmp_path / "run"
    assert {path.name for path in (out / "embeddings").iterdir()} == {f"s{number}.h5" for number in range(4)}
    with h5py.File(out / "embeddings" / "s2.h5") as file:
        assert file["features"].shape == (4, 80)  # mean and deviation of states and latents
        assert file["coords"][:].tolist() == [[0, 0], [64, 0], [0, 64], [64, 64]]
    for quantity in ("pc1", "probability_a", "probability_b"):
        for ending in ("png", "nii.gz", "ome.tif"):
            assert (out / "maps" / f"s3_{quantity}.{ending}").stat().st_size > 0
    written = sorted((out / "maps").glob("*.geojson"))
    assert len(written) == 4 + 4 + 2  # tiles and superpixels of each slide, superpixels of two tiles
    for path in written:
        check_feature_collection(json.loads(path.read_text()))
    features = json.loads((out / "maps" / "s3.geojson").read_text())["features"]
    measured = features[0]["properties"]["measurements"]
    assert set(measured) == {"pc1", "probability_a", "probability_b"}
    best = "a" if measured["probability_a"] > 0.5 else "b"
    assert features[0]["properties"]["classification"]["name"] == best
    assert len(list((out / "maps").glob("*_attention.png"))) == 2
    assert {path.name for path in (out / "figures").iterdir()} == {"projection.png", "denoising.png", "extremes"}
    extremes = {path.name for path in (out / "figures" / "extremes").rglob("*.png")}
    assert extremes == {"cohort.png", *(f"p{number}.png" for number in range(4))}
    with opened_slide_map(out / "entity_maps" / "s3.h5") as found:
        assert found.names == ("pc1", "probability_a", "probability_b", "gate")
        assert found.values.shape == (4, 16, 16)  # 64 um at 4 um a pixel
    summary = json.loads((out / "summary.json").read_text())
    assert summary["embedded_slides"] == 4
    assert "none.tif" in summary["skipped"][0]["reason"]


@pytest.mark.parametrize("superpixels", [True, False])
def test_a_manifest_without_labels_gets_all_figures_that_there_is_something_for(
    folder, small_slides, tmp_path, superpixels
):
    manifest, model = tmp_path / "bare.csv", folder / "model.pt"
    manifest.write_text(f"image,patient\n{small_slides.parent / 's0.tif'},p0\n{small_slides.parent / 's1.tif'},p1\n")
    if not superpixels:
        model = shutil.copy(model, tmp_path)
    workflow("inference.json", manifest=manifest, model=model, output_dir=tmp_path / "run").run()
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures == ({"projection", "denoising"} if superpixels else {"projection"})


def test_evaluation_scores_new_patients_as_the_metrics_do(folder, tmp_path):
    run = workflow(
        "evaluate.json",
        manifest=folder / "cohort.csv",
        classifier=folder / "classifier.pt",
        output_dir=tmp_path,
        batch_tiles=3,
    )
    assert not run.check_properties()
    run.run()
    classifier = load_classifier(folder / "classifier.pt")
    labels, shares = [], []
    encoder = classifier.network.encoder
    for row in read_manifest(folder / "cohort.csv").rows[1:]:  # p0 was trained on
        for graphs, _, _ in stream_slide(row, recipe_of(classifier.run_settings), encoder.to_sample):
            with torch.no_grad():
                shares.append(classifier.network(encoder.prepare(graphs)).softmax(1).numpy())
            labels += [classifier.classes.index(row.label)] * 4
    expected = classification_metrics(np.array(labels), np.concatenate(shares), classifier.classes)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["overall"] == expected
    assert [skipped["what"] for skipped in found["skipped"]][-1] == "patient p0"
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["patient"] for row in rows} == {"p1", "p2", "p3"}
    np.testing.assert_allclose([float(row["probability_a"]) for row in rows], np.concatenate(shares)[:, 0], atol=1e-5)
    assert (tmp_path / "confusion.png").stat().st_size > 0


def test_nobody_new_is_one_clear_line(folder, small_slides, tmp_path):
    slides = [small_slides.parent / f"s{number}.tif" for number in range(2)]
    (tmp_path / "known.csv").write_text(f"image,patient,label\n{slides[0]},p0,a\n{slides[1]},p1,c\n")
    run = workflow(
        "evaluate.json",
        manifest=tmp_path / "known.csv",
        classifier=folder / "classifier.pt",
        output_dir=tmp_path / "out",
    )
    with pytest.raises(RuntimeError) as caught:
        run.run()
    message = str(input_error_in(caught.value))
    assert "nothing to evaluate on" in message
    assert "trained on" in message
    assert "'c'" in message


def test_no_model_is_one_clear_line(folder, tmp_path):
    run = workflow(
        "inference.json", manifest=folder / "cohort.csv", model=tmp_path / "none.pt", output_dir=tmp_path / "out"
    )
    with pytest.raises(RuntimeError) as caught:
        run.run()
    assert "none.pt" in str(input_error_in(caught.value))


def test_all_folds_of_a_run_predict_and_paint_new_patients(folder, tmp_path):
    from hmgdm_monai.losses.class_loss import ClassLoss
    from hmgdm_monai.networks.aggregators.build import build_aggregator
    from hmgdm_monai.saving.patient_file import PatientModel, save_patient_model

    singles, loss = [], ClassLoss([1.0, 1.0])
    target = {"kind": "classes", "column": "label", "classes": ["a", "b"]}
    for fold in (0, 1):
        network = build_aggregator("amil", 80, 2, hidden_dim=4).eval()
        settings = {"aggregator": network.settings, "loss": loss.settings}
        about = {"fold": fold, "patients": [f"p{fold}"], "graph": None}
        save_patient_model(tmp_path / f"folds/fold_{fold}.pt", PatientModel(network, loss, settings, target, {}, about))
        singles.append(network)
    files = {"manifest": folder / "cohort.csv", "model": folder / "model.pt", "patient_model": tmp_path / "folds"}
    workflow("inference.json", **files, output_dir=tmp_path / "run", superpixel_tiles=0).run()
    with (tmp_path / "run/patient_predictions.csv").open(newline="") as file:
        rows = {row["patient"]: row for row in csv.DictReader(file)}
    assert [row["in_training"] for row in rows.values()] == ["yes", "yes", "no", "no"] and set(rows["p3"]) == {
        *("model", "patient", "in_training", "predicted", "probability_a", "probability_b", "spread_a", "spread_b")
    }
    with h5py.File(tmp_path / "run/embeddings/s3.h5") as file:
        bag = Batch.from_data_list([Data(x=torch.from_numpy(file["features"][:]))])
    expected = [network(bag).softmax(1)[0, 0].item() for network in singles]
    assert float(rows["p3"]["probability_a"]) == pytest.approx(np.mean(expected), abs=1e-5)
    assert float(rows["p3"]["spread_a"]) == pytest.approx(np.std(expected, ddof=1), rel=1e-3)
    features = json.loads((tmp_path / "run/maps/s3.geojson").read_text())["features"]
    assert {"attention", "patient_a", "patient_b"} <= set(features[0]["properties"]["measurements"])
