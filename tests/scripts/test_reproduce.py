"""The table's parts, and its smallest version from tiles to table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import reproduce
from monai.bundle import ConfigParser
from reproduce_parts import cohorts, corruption, methods, probes, scoring
from reproduce_parts.work import Work
from skimage.io import imsave

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.unknown import unknown_settings

CONFIGS = Path(__file__).parents[2] / "bundle/configs"


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


def test_corrupted_tiles_are_other_tiles_of_the_same_shape_and_come_out_the_same_again(stained) -> None:
    image, corrupt = stained(64, 64), corruption.corrupt
    assert np.array_equal(corrupt(image, corruption.CLEAN), image)
    for kind in corruption.CORRUPTIONS:
        corrupted = corrupt(image, kind, 3)
        assert corrupted.shape == image.shape and corrupted.dtype == np.uint8 and not np.array_equal(corrupted, image)
        assert np.array_equal(corrupt(image, kind, 3), corrupted)
    assert not np.array_equal(corrupt(image, "stain shift", 4), corrupt(image, "stain shift", 3))
    assert np.array_equal(np.rot90(corrupt(image, "rotation"), -1), image)
    assert corrupt(image, "blur").std() < image.std()
    with pytest.raises(ValueError, match="kind"):
        corrupt(image, "fire")


def test_breast_tiles_are_enlarged_and_not_padded(tmp_path: Path, monkeypatch) -> None:
    from hmgdm_monai.data.slides.slide import open_slide
    from hmgdm_monai.data.tiles.tiling import TileSpec, tile_locations

    folder = tmp_path / "idc_breast" / "labelled"
    folder.mkdir(parents=True)
    rows = [["file", "class", "group"], ["a.png", "0_non_idc", "p"], ["b.png", "1_idc", "q"]]
    for name in ("a.png", "b.png"):
        imsave(folder / name, np.full((50, 50, 3), (150, 90, 160), np.uint8), check_contrast=False)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    monkeypatch.setenv("HMGDM_REAL_DATA", str(tmp_path))
    cohort = cohorts.read_cohort("breast")
    assert cohort.negatives == ("0_non_idc",) and len(cohort.labels) == 2
    slide = open_slide(cohort.images[0].path, cohort.images[0].mpp)
    assert tile_locations(slide, TileSpec()).tolist() == [[0, 0]]
    tile = slide.read_region(0, 0, 256, 256, 1.0)
    assert (tile[8:-8, 8:-8] == (150, 90, 160)).all()


def test_settings_go_to_their_family() -> None:
    settings = ["seed=1", "images:view_px=64", "graphs:early_stop::patience=3", "backbone={'name': 'x'}"]
    assert methods.settings_for(methods.METHODS["hmgdm"], ["images::prior=x"]) == ["images::prior=x"]  # a path

    def of(name: str) -> list[str]:
        return methods.settings_for(methods.METHODS[name], settings)

    assert of("mae") == ["seed=1", "view_px=64", "backbone={'name': 'x'}"]
    assert of("hmgdm") == ["seed=1", "early_stop::patience=3", "backbone={'name': 'x'}"]
    assert of("segresnet_entities")[-1] == "backbone=segresnet_he"  # its own wins
    assert of("color") == ["seed=1", "backbone={'name': 'x'}"]
    for method in methods.METHODS.values():
        for config in method.configs:
            assert (CONFIGS / config).is_file()


def test_each_ablation_changes_a_setting_that_is_there(tmp_path: Path) -> None:
    for name, method in methods.ABLATIONS.items():
        overrides = methods.overrides_of(tmp_path, tmp_path, tmp_path, 0, method.settings)
        plain = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
        changed = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.json"))
        changed.update(overrides)
        assert unknown_settings(changed) == [], name
        given = [setting.partition("=")[0] for setting in method.settings]
        assert any(plain.get(path) != changed[path] for path in given), name


def test_windows_are_enlarged_as_tiles_are_and_backbones_stand_side_by_side(monkeypatch) -> None:
    config = {"backbone": {"name": "x", "resize_px": 512}, "tile_size_px": 256}
    monkeypatch.setattr(methods, "_train", lambda: config)
    window = {"backbone_entities::view": "window", "backbone_entities::window_px": 64}
    assert methods.window_view() == {"backbone": [{"name": "x", "resize_px": 128}], **window}
    assert methods.both_backbones() == {"backbone": [config["backbone"], "segresnet_he"]}
    config["backbone"] = "x"
    assert methods.window_view()["backbone"] == ["x"]


def test_methods_that_share_entities_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    def work(name: str, seed: int = 0) -> Work:
        cohort = cohorts.Cohort("c", (), ())
        return Work(name, "plain", seed, cohort, tmp_path / "m.csv", tmp_path, ["graphs:n_segments=30"], fold_draws=2)

    shared = {"hmgdm", "hmgdm_states", "graphmae", "untrained_graph", "backbone_entities", "mask_30", "no_views"}
    assert len({work(name).entity_settings for name in shared}) == 1
    others = {"squares", "no_edge_latents", "window_view", "segresnet", "both_backbones", "hmgdm"}
    assert len({work(name).entity_settings for name in others}) == len(others)
    assert work("segresnet").entity_settings == work("segresnet_entities").entity_settings
    assert work("hmgdm_states").folder == work("hmgdm").folder != work("hmgdm", 1).folder
    seeds = [seed for number in range(5) for seed in work("hmgdm", number).fold_seeds]
    assert len(set(seeds)) == 10 and work("hmgdm", 3).fold_seeds == work("color", 3).fold_seeds


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
        (["--reference", "simsiam"], "no method simsiam"),
        (["--data", "nowhere.csv"], "nowhere.csv: not found"),
        (["--smallest", "--epochs", "0"], "--epochs 0"),
        (["--fold-draws", "0"], "--fold-draws 0"),
        (["--finetune-share", "0.1", "2"], "--finetune-share 0.1 2.0"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], told: str, capsys, tmp_path: Path) -> None:
    assert reproduce.main([*arguments, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


TINY = ["tile_size_px=64", "n_segments=12", "data::val_fraction=0.34", "device=cpu"]
TINY += ["graphs:backbone={'name': 'efficientnet_lite0', 'blocks': [2], 'resize_px': None}"]
TINY += ["graphs:network_def::hidden_dim=8", "graphs:network_def::num_layers=1"]
TINY += ["images:view_px=32", "images:batch_size=4", "images:lr_scheduler::total_iters=2"]
TINY += ["images:network_def::vit::hidden_dim=16", "images:network_def::vit::num_layers=1"]


@pytest.mark.slow
def test_the_smallest_version_from_tiles_to_table(manifest: Path, tmp_path: Path, capsys) -> None:
    options = [option for setting in TINY for option in ("--set", setting)]
    output = tmp_path / "out"
    arguments = ["--smallest", "--data", str(manifest), "--output", str(output), *options]
    assert reproduce.main(arguments) == 0
    results = json.loads((output / "results.json").read_text())
    assert results["data"]["scored"] == 18 and results["data"]["groups"] == 6 and results["folds_without_auc"] == 0
    rows = results["stains"]["plain"]
    assert list(rows) == ["hmgdm", "untrained_graph", "backbone_entities", "color"]
    for row in rows.values():
        for probe in probes.PROBES:
            assert all(0 <= row["scores"][probe][metric]["mean"] <= 1 for metric in scoring.METRICS)
    assert rows["color"]["scores"]["linear"]["auc"]["mean"] == 1  # the classes differ in color
    assert set(rows["color"]["paired"]) == {"backbone_entities", "hmgdm"} and not rows["color"]["cost"]
    assert set(rows["hmgdm"]["finetuned"]) == {"fine-tuned, 10 %", "fine-tuned, 100 %"}
    assert set(rows["hmgdm"]["finetuned_paired"]) == set(rows["hmgdm"]["finetuned"])
    assert not rows["untrained_graph"]["finetuned_paired"] and not rows["color"]["finetuned"]
    cost = {name: values[0] for name, values in rows["hmgdm"]["cost"].items()}
    assert cost["epochs"] == 1 and cost["cpu_min"] > cost["encoding_cpu_min"] > 0
    assert 0.5 < sum(cost[f"{part}_share"] for part in ("data", "forward", "backward", "update")) < 1.01
    table = (output / "table.md").read_text()
    assert table in capsys.readouterr().out
    blocks = [block for block in table.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5 and all(len({line.count("|") for line in block.splitlines()}) == 1 for block in blocks)
    # Again: nothing is trained, and with corrupted tiles and more rows beside.
    latents = sorted((output / "stores" / "latents").iterdir())
    names = ["hmgdm", "hmgdm_states", "backbone_tile", "backbone_entities", "mae", "untrained_vit", "color"]
    more = [*arguments, "--methods", *names, "--robustness", "--jobs", "2", "--finetune-epochs", "0"]
    assert reproduce.main(more) == 0
    again = json.loads((output / "results.json").read_text())["stains"]["plain"]
    for name in ("hmgdm", "backbone_entities", "color"):
        assert again[name]["cost"] == rows[name]["cost"] and again[name]["features"] == rows[name]["features"]
        assert again[name]["scores"]["linear"] == rows[name]["scores"]["linear"]
    assert sorted((output / "stores" / "latents").iterdir()) == latents
    assert all(set(row["robustness"]) == set(corruption.CORRUPTIONS) for row in again.values())
    widths = {name: again[name]["features"] for name in names}
    assert widths["hmgdm_states"] == 2 * 8 and widths["hmgdm"] == 2 * 8 + widths["backbone_entities"]
    assert widths["backbone_tile"] == widths["backbone_entities"] == 2 * 24 and widths["untrained_vit"] == 32


@pytest.fixture
def small_encoder():
    """An untrained encoder of tiles of 64 px."""
    from benchmark_parts.entities import configured_encoder

    backbone = {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None}
    network = {"network_def::hidden_dim": 8, "network_def::num_layers": 1}
    return configured_encoder(backbone=backbone, tile_size_px=64, n_segments=9, **network)


def test_fine_tuning_learns_and_comes_out_the_same_again(small_encoder, monkeypatch) -> None:
    import torch
    from reproduce_parts import finetuning

    for rate in ("HEAD_RATE", "ENCODER_RATE"):
        monkeypatch.setattr(finetuning, rate, 0.03)  # so that few steps do
    rng = np.random.default_rng(0)
    labels, groups = np.tile(["a", "b"], 6), np.repeat([f"g{i}" for i in range(3)], 4)
    graphs = []
    for label in labels:
        low = 30 if label == "a" else 180
        image = rng.integers(low, low + 60, (3, 64, 64)).astype(np.uint8)
        with torch.inference_mode():
            graphs.append(small_encoder.prepare(small_encoder.to_sample(image)))
    latents = torch.cat([graph.vertex_latents for graph in graphs])
    small_encoder.hmgdm.standardizer.fit(latents.clone())
    first, again = (
        finetuning.finetune_predictions(small_encoder, graphs, labels, groups, 0, 1.0, 20) for _ in range(2)
    )
    assert np.array_equal(first, again) and np.allclose(first.sum(1), 1)
    assert (np.array(["a", "b"])[first.argmax(1)] == labels).mean() > 0.9


def test_weights_are_scored_in_the_tables_way(small_encoder, manifest: Path, tmp_path: Path) -> None:
    from benchmark_parts.weights import score_weights

    from hmgdm_monai.saving.encoder_file import save_encoder

    save_encoder(tmp_path / "model.pt", small_encoder)
    scores = score_weights(tmp_path / "model.pt", cohorts.read_cohort(str(manifest)), seeds=(0, 1))
    assert set(scores) == {*probes.PROBES, *corruption.CORRUPTIONS}
    assert all(values.shape == (2,) for row in scores.values() for values in row.values())
    assert all((values >= 0).all() and (values <= 1).all() for row in scores.values() for values in row.values())
    assert (scores["linear"]["auc"] == 1).all()  # the classes differ in color
