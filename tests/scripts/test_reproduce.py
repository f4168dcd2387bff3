"""The table's parts against plain computations, and its smallest version from tiles to table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import reproduce
from reproduce_parts import cohorts, features, methods, scoring
from skimage.io import imsave

from hmgdm_monai.errors import InputError


@pytest.fixture
def labelled() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, groups and probabilities of 60 tiles: 12 groups of unequal size, mostly of one class."""
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(12, size=60))
    labels = np.where(rng.random(60) < 0.8, groups % 3, rng.integers(3, size=60))
    probabilities = rng.dirichlet(np.ones(3), 60) + 0.5 * np.eye(3)[labels]
    probabilities = np.round(probabilities / probabilities.sum(1, keepdims=True), 1)  # ties, too
    return np.array(["a", "b", "benign"])[labels], np.array([f"g{g:02d}" for g in groups]), probabilities


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return tiles_of(64, tmp_path)


def tiles_of(side_px: int, folder: Path) -> Path:
    """Manifest of 24 tiles of 6 patients; class by patient, benign ones paler."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        patient = number // 4
        low = (90, 60, 120) if patient % 2 else (150, 110, 160)
        image = rng.integers(low, np.add(low, 70), (side_px, side_px, 3)).astype(np.uint8)
        imsave(folder / f"{number}.png", image, check_contrast=False)
        rows.append([f"{number}.png", f"p{patient}", "cancer" if patient % 2 else "benign"])
    with (folder / "tiles.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image", "patient", "label"], *rows])
    return folder / "tiles.csv"


def test_scores_of_weighted_groups_equal_those_of_repeated_tiles(labelled) -> None:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    labels, groups, probabilities = labelled
    scores = scoring.GroupScores(probabilities, labels, groups, ["benign"])
    weights = scoring.resampled_groups(scores.num_groups, 20)
    assert weights.shape == (20, 12) and np.all(weights.sum(1) == 12)
    found = scores(weights)
    for row, accuracy, auc in zip(weights, found["balanced_accuracy"], found["auc"], strict=True):
        often = dict(zip(np.unique(groups), row.astype(int), strict=True))
        rows = np.repeat(np.arange(60), [often[group] for group in groups])
        y, p = labels[rows], probabilities[rows]
        chosen = np.array(["a", "b", "benign"])[p.argmax(1)]
        assert accuracy == pytest.approx(balanced_accuracy_score(y, chosen))
        assert auc == pytest.approx(roc_auc_score(y != "benign", p[:, 0] + p[:, 1]))
    once = scores()
    assert once["auc"] == pytest.approx(scores(np.ones((1, 12)))["auc"])


def test_a_method_equals_itself_and_a_better_one_is_above_in_every_draw(labelled) -> None:
    labels, groups, _ = labelled
    right = np.eye(3)[np.searchsorted(["a", "b", "benign"], labels)]
    weights = scoring.resampled_groups(12, 50)
    good, bad = (
        scoring.summarise([scoring.GroupScores(p, labels, groups, ["benign"])] * 2, weights)["auc"]
        for p in (right, 1 - right)
    )
    assert good["mean"] == 1 and good["sd"] == 0 and good["interval"] == [1, 1] and bad["mean"] < 0.5
    same = scoring.paired(good, good)
    assert same["difference"] == 0 and same["interval"] == [0, 0] and same["share_above"] == 0
    assert scoring.paired(good, bad)["share_above"] == 1


def test_telling_features_score_full_marks_and_noise_does_not(labelled) -> None:
    labels, groups, _ = labelled
    telling = np.eye(3)[np.searchsorted(["a", "b", "benign"], labels)] + 0.01 * np.arange(60)[:, None] / 60
    swapped = telling[:, [1, 2, 0]]
    found = scoring.predictions(telling, {"swapped": swapped}, labels, groups, 0)

    def accuracy(name: str) -> float:
        return float(scoring.GroupScores(found[name], labels, groups, ["benign"])()["balanced_accuracy"][0])

    assert accuracy("linear") == accuracy("knn") == 1 and accuracy("swapped") < 0.1
    assert all(np.allclose(p.sum(1), 1) for p in found.values())
    noise = np.random.default_rng(1).normal(size=(60, 4))
    found = scoring.predictions(noise, {}, labels, groups, 0)
    assert accuracy("linear") < 0.7
    efficiency = scoring.label_efficiency(telling, labels, groups, 0)
    assert list(efficiency) == ["1 %", "5 %", "10 %", "100 %"] and efficiency["100 %"] == 1


def test_few_labelled_groups_still_have_every_class(labelled) -> None:
    labels, groups, _ = labelled
    for seed in range(20):
        some = scoring.some_groups(labels, groups, 0.01, np.random.default_rng(seed))
        assert set(labels[np.isin(groups, some)]) == set(labels) and len(some) <= 3
    half = scoring.some_groups(labels, groups, 0.5, np.random.default_rng(0))
    assert len(half) == len(set(half)) == 6
    assert set(scoring.some_groups(labels, groups, 1.0, np.random.default_rng(0))) == set(groups)


def test_folds_keep_groups_together_and_a_lone_group_is_refused(labelled) -> None:
    labels, groups, _ = labelled
    tested = []
    for train, test in scoring.grouped_folds(labels, groups, 0):
        assert not set(groups[train]) & set(groups[test])
        tested += list(test)
    assert sorted(tested) == list(range(60))
    with pytest.raises(InputError, match="rarest in 1 groups"):
        scoring.grouped_folds(np.array(["a", "a", "b"]), np.array(["x", "y", "z"]), 0)


def test_spoilt_tiles_are_other_tiles_of_the_same_shape_and_come_out_the_same_again(stained) -> None:
    image = stained(64, 64)
    assert np.array_equal(features.spoil(image, features.CLEAN), image)
    for kind in features.PERTURBATIONS:
        spoilt = features.spoil(image, kind, 3)
        assert spoilt.shape == image.shape and spoilt.dtype == np.uint8 and not np.array_equal(spoilt, image)
        assert np.array_equal(features.spoil(image, kind, 3), spoilt)
    assert not np.array_equal(features.spoil(image, "stain shift", 4), features.spoil(image, "stain shift", 3))
    assert np.array_equal(np.rot90(features.spoil(image, "rotation"), -1), image)
    assert features.spoil(image, "blur").std() < image.std()
    with pytest.raises(ValueError, match="kind"):
        features.spoil(image, "fire")


def test_settings_go_to_their_family() -> None:
    settings = ["seed=1", "images:view_px=64", "graphs:early_stop::patience=3"]
    assert methods.settings_for(methods.METHODS["mae"], settings) == ["seed=1", "view_px=64"]
    assert methods.settings_for(methods.METHODS["hmgdm"], settings) == ["seed=1", "early_stop::patience=3"]
    for method in methods.METHODS.values():
        for config in method.configs:
            assert (Path(__file__).parents[2] / "bundle/configs" / config).is_file()


def test_each_ablation_changes_a_setting_that_is_there() -> None:
    config = json.loads((Path(__file__).parents[2] / "bundle/configs/train.json").read_text())
    for method in methods.ABLATIONS.values():
        (setting,) = methods.settings_for(method, [])
        name, _, value = setting.partition("=")
        given = config
        for key in name.split("::"):
            given = given[key]
        assert json.dumps(given) != value and str(given) != value


def test_runs_of_graphs_share_graphs_and_nothing_else(tmp_path: Path) -> None:
    """Latents that another run has encoded would be free, and what they cost is part of the budget."""
    shared = tmp_path / "stores"
    first, second = (methods.own_latents(tmp_path / name, shared) for name in ("first", "second"))
    (first / "graphs" / "a.h5").write_text("graphs")
    (first / "latents").mkdir()
    assert (shared / "graphs" / "a.h5").read_text() == (second / "graphs" / "a.h5").read_text() == "graphs"
    assert not (second / "latents").exists() and not (shared / "latents").exists()
    assert methods.own_latents(tmp_path / "first", shared) == first


def test_pretraining_is_given_no_labels_and_classes_must_stand_against_others(manifest: Path, tmp_path: Path) -> None:
    cohort = cohorts.read_cohort(str(manifest), max_tiles=3)
    assert len(cohort.images) == 18 and cohort.negatives == ("benign",) and len(cohort.labels) == 18
    with cohorts.write_manifest(cohort, tmp_path / "out" / "m.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 18 and set(rows[0]) == {"image", "patient", "mpp"}
    for negatives in (["benign", "cancer"], ["stroma"]):
        with pytest.raises(InputError, match="--negative"):
            cohorts.read_cohort(str(manifest), negatives=negatives)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--methods", "simsiam"], "no method simsiam"),
        (["--data", "nowhere.csv"], "nowhere.csv: not found"),
        (["--smallest", "--epochs", "0"], "--epochs 0"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], told: str, capsys, tmp_path: Path) -> None:
    assert reproduce.main([*arguments, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


TINY = [
    "tile_size_px=64",
    "n_segments=12",
    "val_fraction=0.34",
    "device=cpu",
    "images:view_px=32",
    "images:batch_size=4",
]
TINY += ["images:warmup_steps=2", "images:vit_settings::hidden_dim=16", "images:vit_settings::num_layers=1"]


def test_the_smallest_version_from_tiles_to_table(manifest: Path, tmp_path: Path, capsys) -> None:
    options = [option for setting in TINY for option in ("--set", setting)]
    arguments = ["--smallest", "--data", str(manifest), "--output", str(tmp_path / "out"), *options]
    assert reproduce.main(arguments) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"]["scored"] == 18 and results["data"]["groups"] == 6
    rows = results["stains"]["plain"]
    assert set(rows) == {"mae", "colour"}
    for row in rows.values():
        for probe in ("linear", "knn"):
            assert all(0 <= row["scores"][probe][metric]["mean"] <= 1 for metric in scoring.METRICS)
        assert set(row["label_efficiency"]) == {"1 %", "5 %", "10 %", "100 %"}
    assert rows["colour"]["scores"]["linear"]["auc"]["mean"] == 1  # the classes differ in colour
    assert rows["mae"]["paired"]["auc"]["against"] == "colour" and not rows["colour"]["cost"]
    shares = [rows["mae"]["cost"][f"{part}_share"][0] for part in ("data", "forward", "backward", "update")]
    assert min(shares) > 0 and 0.5 < sum(shares) < 1.01
    assert rows["mae"]["cost"]["tiles_per_s"][0] > 0 and rows["mae"]["cost"]["epochs"] == [1]
    assert set(results["parts_s"]) == {"tiles", "training and features", "scoring"}
    table = (tmp_path / "out" / "table.md").read_text()
    assert table in capsys.readouterr().out
    blocks = [block for block in table.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 4 and all(len({line.count("|") for line in block.splitlines()}) == 1 for block in blocks)
    # Again: nothing is trained, and with spoilt tiles and an untrained network beside it.
    more = [*arguments, "--methods", "mae", "colour", "untrained_vit", "pca", "--robustness", "--jobs", "2"]
    more += ["--finetune", "mae", "--finetune-epochs", "1"]
    assert reproduce.main(more) == 0
    again = json.loads((tmp_path / "out" / "results.json").read_text())["stains"]["plain"]
    tuned = again["mae"]["scores"].pop("finetune")
    assert 0 <= tuned["auc"]["mean"] <= 1 and all("finetune" not in row["scores"] for row in again.values())
    assert again["mae"]["scores"] == rows["mae"]["scores"] and again["mae"]["cost"] == rows["mae"]["cost"]
    assert all(set(row["robustness"]) == set(features.PERTURBATIONS) for row in again.values())
    assert not any(row["robustness"] for row in rows.values())
    assert again["pca"]["features"] > 16 and again["untrained_vit"]["features"] == 32


def test_the_weights_that_ship_are_scored_in_the_tables_way(tmp_path: Path) -> None:
    from benchmark_parts.weights import MODEL, score_weights

    scores = score_weights(MODEL, cohorts.read_cohort(str(tiles_of(256, tmp_path))), seeds=(0, 1))
    assert set(scores) == {"linear", "knn", *features.PERTURBATIONS}
    assert all(values.shape == (2,) for row in scores.values() for values in row.values())
    assert (scores["linear"]["auc"] == 1).all()  # the classes differ in colour
    assert all((values >= 0).all() and (values <= 1).all() for row in scores.values() for values in row.values())
