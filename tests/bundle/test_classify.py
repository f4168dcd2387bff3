"""classify.json in its three modes, on a demo cohort in miniature and a model that nobody trained."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recipes import recipe_settings

from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.errors import input_error_in
from hmgdm_monai.saving.classifier_file import load_classifier
from hmgdm_monai.saving.encoder_file import save_encoder
from hmgdm_monai.tasks.tiles.data import LabeledSamples, predict_probabilities
from hmgdm_monai.tasks.tiles.finetuning import FineTuning
from hmgdm_monai.tasks.tiles.methods import LinearProbe

CONFIG = Path(__file__).parents[2] / "bundle/configs/classify.json"
MODES = ("linear", "knn", "finetune")


@pytest.fixture(autouse=True, scope="module")
def _hook_and_threads_restored() -> Iterator[None]:
    hook, threads = sys.excepthook, torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    sys.excepthook = hook
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def given(tiny: Any, small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """``folder``, ``manifest`` of six slides, a patient each, in two classes, ``model`` and its ``recipe`` of tiles."""
    folder, recipe = tmp_path_factory.mktemp("classify"), recipe_settings(128, 1.0, min_tissue=0.2)
    save_encoder(folder / "model.pt", tiny.encoder(run={**tiny.run, "recipe": recipe}))
    return SimpleNamespace(folder=folder, manifest=small_cohort, model=folder / "model.pt", recipe=recipe)


@pytest.fixture(scope="session")
def classify(given: SimpleNamespace, workflow: Callable[..., Any]) -> Callable[..., Path]:
    """Function (output_dir, **overrides) that runs classify.json and returns the folder."""

    def run(output: Path, **settings: Any) -> Path:
        paths = {"manifest": given.manifest, "model": given.model, "dataset_dir": given.folder / "stores"}
        paths = {name: str(path) for name, path in paths.items()}
        workflow(output, ("classify.json",), run_id="run", **{**paths, **settings}).run()
        return output

    return run


@pytest.fixture(scope="session")
def done(classify: Callable[..., Path], given: SimpleNamespace) -> Callable[[str], Path]:
    """Function mode -> folder of its run, which is made once."""

    def folder(mode: str) -> Path:
        path = given.folder / mode
        return path if (path / "confusion.png").exists() else classify(path, mode=mode)

    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("mode", MODES)
def test_metrics_are_those_of_the_predictions(mode: str, done: Callable[[str], Path]) -> None:
    metrics, rows = json.loads((done(mode) / "metrics.json").read_text()), rows_of(done(mode))
    assert metrics["classes"] == ["Gleason 3+4", "benign"] and metrics["mode"] == mode
    assert "Synthetic" in metrics["data"]
    assert len(rows) == metrics["overall"]["tiles"] == 24
    assert len({(row["id"], row["x_px"], row["y_px"]) for row in rows}) == 24
    right = np.array([row["label"] == row["predicted"] for row in rows])
    assert metrics["overall"]["accuracy"] == pytest.approx(right.mean())
    for row in rows:
        shares = {name: float(row[f"probability_{name}"]) for name in metrics["classes"]}
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)
        assert max(shares, key=shares.get) == row["predicted"]
    for fold in metrics["folds"]:
        mine = np.array([row["fold"] == str(fold["fold"]) for row in rows])
        assert fold["accuracy"] == pytest.approx(right[mine].mean())
        assert fold["tiles_by_side"]["test"] == mine.sum()
        assert sum(fold["patients_by_side"].values()) == 6
    assert (done(mode) / "confusion.png").stat().st_size > 10_000


@pytest.mark.parametrize("mode", MODES)
def test_the_classifier_of_a_fold_gives_its_predictions_and_never_saw_its_patients(
    mode: str, done: Callable[[str], Path], given: SimpleNamespace
) -> None:
    rows = rows_of(done(mode))
    latents = LatentStore(sorted((given.folder / "stores/latents").glob("*.h5")))
    infos = [latents.tile_info(i) for i in range(len(latents))]
    where = {(info.row_id, *info.location_px): i for i, info in enumerate(infos)}
    graphs = LabeledSamples(latents, np.zeros(len(latents)))
    for number in range(3):
        classifier = load_classifier(done(mode) / f"checkpoints/classifier_fold{number}.pt")
        assert classifier.classes == ("Gleason 3+4", "benign") and classifier.fold == number
        assert classifier.run_settings["recipe"] == given.recipe
        mine = [row for row in rows if row["fold"] == str(number)]
        assert not {row["patient"] for row in mine} & set(classifier.patients)
        assert {row["patient"] for row in mine} | set(classifier.patients) == {row["patient"] for row in rows}
        places = [where[row["id"], int(row["x_px"]), int(row["y_px"])] for row in mine]
        found = predict_probabilities(classifier.network, torch.utils.data.Subset(graphs, places), "cpu")
        told = [[float(row[f"probability_{name}"]) for name in classifier.classes] for row in mine]
        assert np.allclose(found, told, atol=1e-5)


def test_validation_chooses_the_epoch_and_mlflow_has_every_one(done: Callable[[str], Path]) -> None:
    from mlflow import MlflowClient

    metrics = json.loads((done("finetune") / "metrics.json").read_text())
    client = MlflowClient(f"sqlite:///{done('finetune') / 'mlruns.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'hmgdm_classification'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["fold_0", "fold_1", "fold_2"]
    for fold in metrics["folds"]:
        history = fold["history"]
        assert [epoch["epoch"] for epoch in history] == [1, 2]
        best = max(history, key=lambda epoch: (epoch["val_balanced_accuracy"], -epoch["val_loss"]))
        assert fold["chosen_by_validation"] == {k: best[k] for k in ("epoch", "val_balanced_accuracy", "val_loss")}
        run = runs[f"fold_{fold['fold']}"]
        assert run.info.status == "FINISHED"
        for ours, theirs in (("loss", "train_loss"), ("val_loss", "val_loss")):
            logged = client.get_metric_history(run.info.run_id, theirs)
            assert {m.step: m.value for m in logged} == pytest.approx({e["epoch"]: e[ours] for e in history})


def test_killed_in_the_second_fold_equals_one_go(
    classify: Callable[..., Path],
    done: Callable[[str], Path],
    killed: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, fit, fitted = done("finetune"), FineTuning.fit, []

    def counted(self, data, fold):
        if len(fitted) == 1:
            fitted.append("killed")
            raise killed
        fitted.append(fold.number)
        return fit(self, data, fold)

    monkeypatch.setattr(FineTuning, "fit", counted)
    with pytest.raises(killed):
        classify(tmp_path, mode="finetune")
    assert not (tmp_path / "metrics.json").exists()
    torch.manual_seed(99)  # another process begins with another state
    classify(tmp_path, mode="finetune")
    assert fitted == [0, "killed", 1, 2]
    assert (tmp_path / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads((whole / "metrics.json").read_text())


def test_a_fold_is_done_anew_where_it_must_and_only_there(
    classify: Callable[..., Path], given: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, fitted = LinearProbe.fit, []

    def counted(self, data, fold):
        fitted.append(fold.number)
        return fit(self, data, fold)

    monkeypatch.setattr(LinearProbe, "fit", counted)
    manifest = given.manifest.with_name("with_folds.csv")
    text = given.manifest.read_text().splitlines()
    lines = [f"{line},{'fold' if not i else (i - 1) // 2}" for i, line in enumerate(text)]
    manifest.write_text("\n".join(lines) + "\n")
    run = {"mode": "linear", "manifest": str(manifest)}
    classify(tmp_path / "run", **run)
    assert fitted == [0, 1, 2]  # the manifest's folds, not n_folds
    assert all(int(row["fold"]) == int(row["patient"][-2:]) // 2 for row in rows_of(tmp_path / "run"))
    classify(tmp_path / "run", **run)
    assert fitted == [0, 1, 2]
    (tmp_path / "run/checkpoints/classifier_fold1.pt").write_bytes(b"cut short")
    classify(tmp_path / "run", **run)
    assert fitted == [0, 1, 2, 1]
    manifest.write_text(manifest.read_text().replace("patient_05,Gleason 3+4", "patient_05,benign"))
    classify(tmp_path / "run", **run)
    assert fitted == [0, 1, 2, 1, 0, 1, 2]


def manifest_of(lines: dict[str, str]) -> Callable[[SimpleNamespace, Path], dict[str, str]]:
    """Override of ``manifest``: header -> cells of patient i, where {i}, {ab} and {one} stand for number and labels."""

    def make(given: SimpleNamespace, folder: Path) -> dict[str, str]:
        ((header, cells),) = lines.items()
        slides = given.manifest.parent / "slides"
        rows = [
            f"{slides}/patient_{i:02d}.tif,p{i},{cells.format(i=i, ab='ab'[i % 2], one='ab'[i == 3])}" for i in range(6)
        ]
        (folder / "bad.csv").write_text("\n".join([f"image,patient,{header}", *rows]) + "\n")
        return {"manifest": str(folder / "bad.csv")}

    return make


def model_of(content: Any) -> Callable[[SimpleNamespace, Path], dict[str, str]]:
    def make(given: SimpleNamespace, folder: Path) -> dict[str, str]:
        if isinstance(content, bytes):
            (folder / "bad.pt").write_bytes(content)
        elif content is not None:
            torch.save(content, folder / "bad.pt")
        return {"model": str(folder / "bad.pt")}

    return make


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (manifest_of({"mpp": "1.0"}), "no row has a label"),
        (manifest_of({"label": ""}), "no row has a label"),
        (manifest_of({"label": "a"}), "two classes or more; there is only 'a'"),
        (manifest_of({"label": "{one}"}), "only patient 'p3' has class 'b'"),
        (manifest_of({"label,fold": "{ab},7"}), "column 'fold' contains only 7"),
        (lambda *_: {"mode": "forest"}, "mode: must be linear, knn or finetune, not forest"),
        (lambda *_: {"manifest": "none.csv"}, "no such manifest"),
        (model_of(None), "run the training first"),
        (model_of(b"PK\x03\x04 cut short"), "damaged"),
        (model_of({"format": 2}), "is a model file of format 2, this version reads format 4; train again"),
        (model_of({"format": 3}), "is a model file of format 3"),
        (model_of({"weights": {}}), "is no encoder, since it has no description"),
        (lambda *_: {"methods::knn::neighbors": [0], "mode": "knn"}, "at least 1"),
        (
            lambda *_: {"choose_by": "luck", "mode": "finetune"},
            "choose_by: must be balanced_accuracy or loss, not luck",
        ),
        (lambda *_: {"max_epochs": 0, "mode": "finetune"}, "max_epochs: must be a whole number, at least 1, not 0"),
    ],
)
def test_bad_input_is_one_line(
    overrides: Callable, told: str, classify: Callable[..., Path], given: SimpleNamespace, tmp_path: Path
) -> None:
    settings = {"mode": "linear", **overrides(given, tmp_path)}
    with pytest.raises(Exception) as caught:  # noqa: B017  the config parser wraps it
        classify(tmp_path / "run", **settings)
    message = str(input_error_in(caught.value))
    assert told in message
    assert "\n" not in message
    assert not (tmp_path / "run/settings.json").exists()


def test_other_settings_do_not_get_into_a_folder(classify: Callable[..., Path], done: Callable[[str], Path]) -> None:
    with pytest.raises(RuntimeError) as caught:
        classify(done("knn"), mode="knn", **{"methods::knn::temperature": 0.5})
    assert "0.5" in str(input_error_in(caught.value))


def test_config_is_indented_by_four() -> None:
    text = CONFIG.read_text()
    assert text == json.dumps(json.loads(text), indent=4) + "\n"
