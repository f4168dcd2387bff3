"""All faults of a command line are told at once, before any work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fire
import pytest
from monai.bundle import ConfigParser, create_workflow

from hmgdm_monai.errors import InputError, input_error_in
from hmgdm_monai.tasks.configs.check import check_settings

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "bundle/configs"
BASE, DIRL = ("train.json",), ("train.json", "dirl.json")
CLASSIFY, SURVIVAL, INFERENCE = ("classify.json",), ("survival.json",), ("inference.json",)


def command_line(*words: str) -> dict[str, Any]:
    """Settings as the command line of MONAI gives them."""
    given: dict[str, Any] = {}
    fire.Fire(lambda **settings: given.update(settings), command=list(words))
    return given


def parsed(names: tuple[str, ...], *words: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in names])
    parser.update(command_line(*words))
    return parser


def faults(names: tuple[str, ...], *words: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        check_settings(parsed(names, *words))
    return str(raised.value).split("\n")


def checked(names: tuple[str, ...], *words: str) -> ConfigParser:
    parser = parsed(names, *words)
    check_settings(parser)
    return parser


WRONG = {
    BASE: {
        "max_epochs": ("-1", "must be a whole number, at least 1, not -1"),
        "network_def#hidden_dim": ("0", "must be a whole number, at least 1, not 0"),
        "bottleneck_kl_weight": ("nan", "must be a number, at least 0, not nan"),
        "noising#scheduler#prediction_type": ("foo", "must be epsilon, sample or v_prediction, not foo"),
        "amp": ("maybe", "must be true or false, not maybe"),
        "edge_latents": ("2", "must be true or false, not 2"),
        "learning_rate": ("inf", "must be a number, above 0, not inf"),
        "tile_mpp": ("40", "must be a number, at least 0.05 and at most 20, not 40"),
        "stain_method": ("macenk", "must be macenko or null, not macenk; did you mean macenko?"),
        "device": ("gpu", "must be cpu, cuda or cuda:0, not gpu"),
        "seed": ("1.5", "must be a whole number, at least 0 and at most 4294967295, not 1.5"),
        "batch_size": ("True", "must be a whole number, at least 1, not true"),
        "optimizer#betas": ("[0.9]", "must be a list of 2 values, each a number, at least 0 and below 1, not [0.9]"),
        "lr_scheduler#mode": ("least", "must be min or max, not least"),  # no description: by its annotation
        "train#trainer#decollate": ("maybe", "must be true or false, not maybe"),
        "handlers#progress#_disabled_": ("perhaps", "must be true or false, not perhaps"),
        "patience": ("@patients", "refers to @patients, which is not there; see that it is spelled right"),
        "max_epoch": ("3", "there is no such setting; did you mean max_epochs?"),
        "noising#noise_intensit": ("fixed", "Noising has no such argument; did you mean noise_intensity?"),
        "backbone": ("efficientnet", "there is no backbone 'efficientnet'"),
    },
    DIRL: {
        "prior#name": ("nucleus", "must be nuclei, superpixels or imported, not nucleus; did you mean nuclei?"),
        "views#scale": ("[0.5,0.2]", "in ascending order, each a number, above 0 and at most 1, not [0.5, 0.2]"),
        "views#brightnes": ("0.3", "PairedViews has no such argument; did you mean brightness?"),
        "dense_weight": ("-1", "must be a number, at least 0, not -1"),
        "network_def#vit#patch_px": ("15", "must divide tile_size_px 256, not 15"),
    },
    CLASSIFY: {
        "mode": ("finetun", "must be linear, knn or finetune, not finetun"),
        "n_folds": ("1", "must be a whole number, at least 2, not 1"),
        "methods#knn#neighbors": ("[0]", "must be a list, each value a whole number, at least 1, not [0]"),
        "choose_by": ("acuracy", "must be balanced_accuracy or loss, not acuracy; did you mean balanced_accuracy?"),
        "network_def#dropout": ("1.5", "must be a number, at least 0 and below 1, not 1.5"),
    },
    SURVIVAL: {
        "batch_size": ("1", "must be a whole number, at least 2, not 1"),
        "baselines": ("cox", "not cox; did you mean cox_pca?"),
        "loss#ties": ("efro", "must be efron or breslow, not efro; did you mean efron?"),
        "network_def#hiden_dim": ("8", "build_aggregator has no such argument; did you mean hidden_dim?"),
        "network_def#attention_dim": ("0", "must be a whole number, at least 1, not 0"),
        "use_manifest_folds": ("maybe", "must be true or false, not maybe"),
    },
    INFERENCE: {
        "projection_method": ("pca", "must be tsne or umap, not pca"),
        "superpixel_tiles": ("-1", "must be a whole number, at least 0, not -1"),
    },
}


@pytest.mark.parametrize("names", WRONG, ids=lambda names: names[-1])
def test_all_faults_are_told_at_once_in_the_order_of_their_names(names: tuple[str, ...]) -> None:
    words = [word for name, (value, _) in WRONG[names].items() for word in (f"--{name}", value)]
    lines = faults(names, *words)
    assert lines == sorted(lines)
    for name, (_, said) in WRONG[names].items():
        (line,) = [line for line in lines if line.startswith(f"{name}: ")]
        assert said in line
    rest = [line for line in lines if line.split(": ")[0] not in WRONG[names]]
    assert rest in ([], ["network_def#vit: patches of 15 px must divide images of 128 px, and 4 and 4 heads must divide hidden_dim 128"])  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("names", "words", "said"),
    [
        (BASE, ["--network_def#heads", "3"], "network_def#heads: must divide hidden_dim 64, not 3"),
        (BASE, ["--noising#fixed_timestep", "5000"], "noising: fixed_timestep must lie in [0, 1000), got 5000"),
        (BASE, ["--recipe#tile_spec#overlap_px", "256"], "recipe#tile_spec: tiles: overlap_px must lie in 0..255"),
        (BASE, ["--backbone", "{'name':'efficientnet_lite0','blocks':[99]}"], "blocks must be some of 0 to 14"),
        (BASE, ["--backbone", "mine.onnx"], "backbone: there is no file mine.onnx"),
        (
            ("train.json", "dirl.json", "dirl_backbone.json"),
            ["--network_def#vit#heads", "0"],
            "network_def#vit#heads: must be a whole number, at least 1, not 0",
        ),
        (BASE, ["--loss", "3"], "loss: must be a "),
        (BASE, ["--noising", "none"], "noising: must be a Noising"),
        (BASE, ["--output_dir", "1.5"], "output_dir: must be a path, not 1.5"),
        (SURVIVAL, ["--baselines", "cox_clinical"], "clinical_columns: the baseline cox_clinical needs columns"),
        (SURVIVAL, ["--baselines", "cox_clinical_model", "--clinical_columns", "age"], "epoch_selection: the baseline"),
        (SURVIVAL, ["--time_column", "none"], "time_column: must be a text, not null"),
        (SURVIVAL, ["--aggregator", "mean", "--network_def#hidden_dim", "8"], "has no such argument"),
    ],
)
def test_what_is_wrong_only_with_something_else_is_told(names: tuple[str, ...], words: list[str], said: str) -> None:
    (line,) = faults(names, *words)
    assert said in line


def test_a_device_that_is_not_there_is_told() -> None:
    (line,) = faults(BASE, "--device", "cuda:99")
    assert line.startswith("device: must be a device of this machine, not cuda:99")


@pytest.mark.parametrize(("text", "meant"), [("false", False), ("False", False), ("no", False), ("0", False), ("yes", True)])  # fmt: skip  # noqa: E501
def test_truth_values_mean_what_they_say(text: str, meant: bool) -> None:
    parser = checked(BASE, "--amp", text, "--network_def#use_positions", text, "--handlers#progress#_disabled_", text)
    found = [parser[name] for name in ("amp", "network_def#use_positions", "handlers#progress#_disabled_")]
    found += [parser["train#handlers"][2]["_disabled_"]]  # MONAI's copy
    assert found == [meant] * 4 and all(isinstance(one, bool) for one in found)


def test_texts_become_what_they_stand_for() -> None:
    words = ["--max_epochs", '"3"', "--learning_rate", "1", "--output_dir", "2024", "--num_threads", "None"]
    words += ["--stain_method", "null", "--network_def#readout", "mean", "--optimizer#betas", "(0.5,0.9)"]
    parser = parsed(BASE, *words)
    check_settings(parser, ["num_threads"])
    assert parser["max_epochs"] == 3 and isinstance(parser["max_epochs"], int)
    assert parser["output_dir"] == "2024" and parser["stain_method"] is None and parser["num_threads"] is None
    assert parser["network_def#readout"] == ["mean"] and parser["optimizer#betas"] == [0.5, 0.9]


@pytest.mark.parametrize("value", ["None", "none", "null"])
def test_no_classifier_means_none(value: str, tmp_path: Path) -> None:
    """MONAI itself passes over None and takes the default."""
    words = ["--config_file", str([str(CONFIGS / "inference.json")]), "--output_dir", str(tmp_path)]
    workflow = create_workflow(**command_line(*words, "--_demo_classifier", __file__, "--classifier", value))
    assert workflow.parser.get_parsed_content("classifier") is None
    assert workflow.parser.get_parsed_content("loaded_classifier") is None


def test_a_handler_cannot_be_null() -> None:
    parser = parsed(BASE)
    with pytest.raises(InputError, match="handlers#mlflow: cannot be null; switch a handler off by"):
        check_settings(parser, ["handlers#mlflow"])


def test_a_null_of_an_unknown_setting_is_told() -> None:
    words = ["--config_file", str([str(CONFIGS / "inference.json")]), "--classifer", "None"]
    with pytest.raises(RuntimeError) as raised:
        create_workflow(**command_line(*words))
    assert "classifer: there is no such setting; did you mean classifier?" in str(input_error_in(raised.value))


def monai_run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(ROOT / "bundle"), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_from_the_shell_none_is_none(tmp_path: Path) -> None:
    (tmp_path / "show.json").write_text(json.dumps({"inference": ["$print('classifier is', @classifier)"]}))
    files = [str(CONFIGS / "inference.json"), "show.json"]
    words = ["--config_file", str(files), "--_demo_classifier", "show.json", "--classifier", "None"]
    ended = monai_run(tmp_path, *words)
    assert ended.returncode == 0, ended.stderr
    assert "classifier is None" in ended.stdout
