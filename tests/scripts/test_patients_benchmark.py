"""The benchmark of aggregators: runs are stored, scores are those of scikit-learn, differences are paired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_parts import biopsy_bags, patients
from benchmark_parts.patient_hazards import multivariable, ratios_markdown
from benchmark_parts.patient_scores import (
    Fold,
    SeedScores,
    check_paired,
    class_scores,
    draw_patients,
    read_predictions,
    survival_scores,
)
from benchmark_parts.representation import ProstateTile

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.features_file import read_features, write_features
from hmgdm_monai.errors import InputError


def class_folds(seed: int, skill: float, noise: int = 0) -> list[Fold]:
    """Two folds of 12 and 9 patients of three classes; predictions of models with more skill are better."""
    rng, found = np.random.default_rng(seed), []
    for number, size in enumerate((12, 9)):
        label = np.arange(size) % 3
        logits = skill * np.eye(3)[label] + np.random.default_rng((seed, number, noise)).normal(size=(size, 3))
        probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        names = np.array([f"p{number}_{n}" for n in rng.permutation(size)])
        columns = {f"probability_{name}": probability[:, k] for k, name in enumerate("abc")}
        found.append(Fold(names, {"label": np.array(list("abc"))[label], **columns}))
    return found


def test_scores_are_those_of_scikit_learn_averaged_over_folds_and_seeds() -> None:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    folds = [class_folds(seed, 1.0) for seed in (0, 1)]
    scores = SeedScores(folds, class_scores, draw_patients(check_paired({"a": folds}), draws=3))
    expected: dict[str, list[float]] = {"balanced_accuracy": [], "auc": []}
    for one in folds:
        accuracy, auc = [], []
        for fold in one:
            probability = np.stack([fold.values[f"probability_{name}"] for name in "abc"], 1)
            accuracy.append(balanced_accuracy_score(fold.values["label"], np.array(list("abc"))[probability.argmax(1)]))
            auc.append(roc_auc_score(fold.values["label"], probability, multi_class="ovr"))
        expected["balanced_accuracy"].append(np.average(accuracy, weights=(12, 9)))
        expected["auc"].append(np.average(auc, weights=(12, 9)))
    for name, values in expected.items():
        found = scores.summary(name)
        assert found["seeds"] == pytest.approx(values) and found["mean"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values, ddof=1))


def test_differences_are_paired() -> None:
    models = {name: [class_folds(seed, skill) for seed in (0, 1)] for name, skill in (("mean", 0.0), ("good", 4.0))}
    models["same"] = models["mean"]
    found = patients.summarize(models, class_scores, draws=50)
    assert found["same"]["auc"]["minus_mean_pool"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    better = found["good"]["auc"]["minus_mean_pool"]
    assert better["difference"] == pytest.approx(found["good"]["auc"]["mean"] - found["mean"]["auc"]["mean"])
    assert 0 < better["interval"][0] < better["difference"] < better["interval"][1]
    models["other"] = [class_folds(seed, 0.0) for seed in (0, 2)]
    with pytest.raises(InputError, match="other and mean have other patients in their folds"):
        patients.summarize(models, class_scores, draws=50)


def test_more_seeds_of_the_same_predictions_do_not_narrow_the_interval() -> None:
    one = class_folds(0, 1.0)
    drawn = draw_patients(check_paired({"a": [one]}), draws=50)
    once, often = (SeedScores([one] * times, class_scores, drawn) for times in (1, 4))
    np.testing.assert_allclose(once.samples["auc"], often.samples["auc"])


def predictions(path: Path, aggregator: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = [("model", "patient", "fold", "time", "event", "risk", "group")]
    for model in (aggregator, "cox_pca") if aggregator == "mean" else (aggregator,):
        rows += [(model, f"p{n}", n % 2, n + 1, int(n % 3 > 0), f"{rng.normal() - n}", "high") for n in range(20)]
    path.mkdir(parents=True)
    (path / "predictions.csv").write_text(csv_text(rows))


def test_what_is_stored_is_not_run_again_and_the_table_names_every_model(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    def run(aggregator: str, seed: int, output: Path) -> None:
        calls.append((aggregator, seed))
        predictions(output, aggregator, seed)
        (output / "metrics.json").write_text("{}")

    models = patients.run_all(run, tmp_path, (0, 1), patients.ALL_AGGREGATORS)
    assert len(calls) == 2 * len(patients.AGGREGATORS)
    again = patients.run_all(run, tmp_path, (0, 1), patients.ALL_AGGREGATORS)
    assert len(calls) == 2 * len(patients.AGGREGATORS)
    assert list(models) == list(again) == ["mean", "cox_pca", *list(patients.AGGREGATORS)[1:]]
    page = patients.markdown({"KIRC": patients.summarize(models, survival_scores, draws=5)})
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(models) and all(row.count("|") == 4 for row in rows)
    assert any(row.startswith("| cox_pca | 0.") and " to " in row for row in rows)


def test_survival_predictions_are_scored_within_folds(tmp_path: Path) -> None:
    predictions(tmp_path / "run", "mean", 0)
    folds = read_predictions(tmp_path / "run" / "predictions.csv")["mean"]
    assert [len(fold.patients) for fold in folds] == [10, 10]
    c, pairs = survival_scores(folds[0].values)["harrell_c"]
    assert c > 0.9 and pairs == sum(event * (9 - n) for n, event in enumerate(folds[0].values["event"]))


def test_hazard_ratios_are_those_of_the_risk_beside_age_and_sex(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "predictions.csv"
    size, clinical = 400, {}
    rows: list[tuple[Any, ...]] = [("model", "patient", "fold", "time", "event", "risk", "group")]
    for n in range(size):
        risk, age = rng.normal(), rng.normal(60, 10)
        clinical[f"p{n}"] = {"age": age, "is_female": float(n // 2 % 2)}
        time = rng.exponential(np.exp(-(np.log(2) * risk + np.log(1.5) * (age - 60) / 10)))
        # Each fold has its own scale of risks, and its own baseline.
        rows.append(("a", f"p{n}", n % 2, time * (1 + 9 * (n % 2)), 1, risk * (1 + 4 * (n % 2)) + n % 2, "high"))
    path.write_text(csv_text(rows))
    folds = read_predictions(path)["a"]
    constant = [Fold(fold.patients, {**fold.values, "risk": 0 * fold.values["risk"]}) for fold in folds]
    found = multivariable({"a": [folds, folds], "cox_clinical": [folds], "flat": [constant]}, clinical)
    assert list(found) == ["a"] and "flat: risk does not vary" in capsys.readouterr().out
    assert found["a"]["risk"]["ratio"] == pytest.approx(2, rel=0.15)
    assert found["a"]["age"]["ratio"] == pytest.approx(1.5, rel=0.15)
    assert found["a"]["is_female"]["low"] < 1 < found["a"]["is_female"]["high"]
    assert "| a | 2.0" in ratios_markdown({"KIRC": found}) or "| a | 1.9" in ratios_markdown({"KIRC": found})


def test_bags_hold_all_tiles_of_a_biopsy_and_are_computed_once(
    tmp_path: Path, tiny: Any, stained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from hmgdm_monai.saving.encoder_file import save_encoder

    save_encoder(tmp_path / "model.pt", tiny.encoder())
    tiles = []
    for number, (biopsy, label) in enumerate([("x", "a"), ("x", None), ("x", None), ("y", "b")]):
        path = tmp_path / f"{biopsy}_{number}.png"
        Image.fromarray(np.roll(stained(64, 64), 16 * number, 0)).save(path)
        tiles.append(ProstateTile(path, biopsy, label))
    manifests = biopsy_bags.write_bags(tiles, tmp_path / "model.pt", tmp_path / "bags")
    sizes = {}
    for name, path in manifests.items():
        assert [line.split(",")[1:3] for line in path.read_text().splitlines()[1:]] == [["x", "a"], ["y", "b"]]
        x, y = (read_features(path.with_name(f"{biopsy}.h5")).features for biopsy in "xy")
        assert (len(x), len(y)) == (3, 1) and np.isfinite(x).all() and (x[0] != y[0]).any()
        sizes[name] = x.shape[1]
    assert sizes["color_texture"] == 61 and sizes["backbone_entities"] == sizes["backbone_tile"] == 2 * 24
    monkeypatch.setattr(biopsy_bags, "tile_features", None)  # nothing is computed again
    biopsy_bags.write_bags(tiles, tmp_path / "model.pt", tmp_path / "bags")
    with pytest.raises(ValueError, match="biopsy x has 2 classes"):
        biopsy_bags.label_of([tiles[0], ProstateTile(tiles[1].path, "x", "b")])


@pytest.mark.parametrize("target", ["biopsies", "survival"])
def test_runs_are_those_of_the_public_workflow(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two aggregators, one epoch, 16 patients; features without coordinates."""
    rng = np.random.default_rng(0)
    rows: list[tuple[Any, ...]] = [("image", "patient", "label", "time", "event", "age", "is_female", "features")]
    for n in range(16):
        write_features(tmp_path / f"s{n}.h5", rng.normal(size=(4, 3)) + n % 2)
        outcome = ("ab"[n % 2], 20 - n, int(n % 4 > 0), 50 + n % 5, float(n // 2 % 2))
        rows.append((f"s{n}.h5", f"p{n}", *outcome, f"s{n}.h5"))
    (tmp_path / "manifest.csv").write_text(csv_text(rows))
    models_of = patients.biopsy_models if target == "biopsies" else patients.survival_models
    settings = {"n_folds": 2, "max_epochs": 1}
    models = models_of(tmp_path / "manifest.csv", tmp_path / "runs", (0,), settings, ("mean", "spatial_gat"))
    baselines = ["logistic_pca"] if target == "biopsies" else ["cox_clinical", "cox_clinical_pca", "cox_pca"]
    assert sorted(models) == sorted(["mean", "spatial_gat", *baselines])
    assert not list(tmp_path.rglob("mlruns.db"))
    found = patients.summarize(models, class_scores if target == "biopsies" else survival_scores, draws=5)
    assert all(0 <= score["mean"] <= 1 for scores in found.values() for score in scores.values())
