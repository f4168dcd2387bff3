"""Settings that nothing reads are refused, and those that something reads are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from hmgdm_monai.tasks.configs.unknown import settings_without_effect, unknown_settings

CONFIGS = Path(__file__).parents[3] / "bundle/configs"
BASE, DIRL = ("train.json",), ("train.json", "dirl.json")
SHIPPED = [
    BASE,
    ("train.json", "train_entities.json"),
    ("train.json", "paper.json"),
    ("train.json", "multi_gpu.json"),
    ("train.json", "baselines/clock.json"),
    ("train.json", "baselines/graphmae.json"),
    ("train.json", "baselines/graphmae.json", "baselines/clock.json", "baselines/clock_graphs.json"),
    DIRL,
    *((*DIRL, f"baselines/{name}.json") for name in ("simclr", "dino", "mae")),
    (*DIRL, "baselines/mae.json", "baselines/diffmae.json", "baselines/clock.json"),
    ("classify.json",),
    ("survival.json",),
    ("survival.json", "patient_classes.json"),
    ("survival.json", "regress.json"),
    ("survival.json", "competing_risks.json"),
    ("survival.json", "evaluate_patients.json"),
    ("inference.json",),
    ("evaluate.json",),
]


def parsed(names: tuple[str, ...], **overrides: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in names])
    parser.update(overrides)
    return parser


def unknown(names: tuple[str, ...], **overrides: Any) -> list[str]:
    return unknown_settings(parsed(names, **overrides))


@pytest.mark.parametrize("names", SHIPPED, ids=lambda names: "+".join(name.split("/")[-1] for name in names))
def test_the_configs_that_ship_have_none(names: tuple[str, ...]) -> None:
    assert unknown(names) == []


@pytest.mark.parametrize(
    ("names", "given", "told"),
    [
        (BASE, {"max_epoch": 3}, "max_epoch: there is no such setting; did you mean max_epochs?"),
        (BASE, {"learning_rat": 3}, "did you mean learning_rate?"),
        (BASE, {"optimizer::learning_rate": 0.1}, "optimizer#learning_rate: Adam has no such argument"),
        (BASE, {"optimizer::weight_deca": 0.1}, "did you mean weight_decay?"),
        (BASE, {"train::itération": {}}, "train#itération: there is no such setting; did you mean iteration?"),
        (BASE, {"train::iteration::max_gradnorm": 1}, "did you mean max_grad_norm?"),
        (BASE, {"validate::evaluater": {}}, "validate#evaluater: there is no such setting; did you mean evaluator?"),
        (
            BASE,
            {"network_def::hiden_dim": 8},
            "network_def#hiden_dim: build_hmgdm has no such argument; did you mean hidden_dim?",
        ),
        (BASE, {"noising::scheduler::beta_ende": 0.1}, "did you mean beta_end?"),
        (BASE, {"handlers::mlflow::run_nam": "x"}, "did you mean run_name?"),
        (BASE, {"loss": {"_target_": "torch.nn.MSELos"}}, "loss: there is no torch.nn.MSELos to build"),
        (DIRL, {"images::prio": 1}, "images#prio: ImageData has no such argument; did you mean prior?"),
        (DIRL, {"temperature": 0.2}, "temperature: there is no such setting"),  # of simclr.json
        (DIRL, {"prior::nam": "nuclei"}, "prior#nam: build_prior has no such argument; did you mean name?"),
        (("classify.json",), {"methods::knn::neighbours": [1]}, "did you mean neighbors?"),
        (("inference.json",), {"superpixel_tile": 1}, "did you mean superpixel_tiles?"),
    ],
)
def test_a_misspelled_name_is_told_with_the_nearest_real_one(names: tuple[str, ...], given: dict, told: str) -> None:
    (fault,) = unknown(names, **given)
    assert told in fault and "\n" not in fault


@pytest.mark.parametrize(
    "given",
    [
        {"network_def::layer_differences": True},  # an argument that the config leaves at its default
        {"backbone_entities::seam_px": 3},
        {"train::dataloader::pin_memory": True},
        {"lr_scheduler": {"_target_": "torch.optim.lr_scheduler.StepLR", "optimizer": "@optimizer", "step_size": 2}},
        {"mine": 3, "optimizer::lr": "$0.1 / @mine"},
        {"backbone": None},
        {"_desc_run": "the third try"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_something_reads_is_no_fault(given: dict) -> None:
    assert unknown(BASE, **given) == []


@pytest.mark.parametrize(
    ("names", "given", "left"),
    [
        (BASE, {}, []),
        (BASE, {"optimizer::lr": 0.1}, ["learning_rate"]),
        (BASE, {"backbone_entities": None, "entities": {"_target_": "torch.nn.Identity"}}, ["backbone"]),
        (DIRL, {"backbone": "segresnet_he"}, ["backbone"]),
        (BASE, {"train::trainer::key_train_metric": None}, []),
    ],
)
def test_what_an_override_leaves_without_effect_is_no_fault_and_is_told(
    names: tuple[str, ...], given: dict, left: list[str]
) -> None:
    parser = parsed(names, **given)
    assert unknown_settings(parser) == [] and settings_without_effect(parser) == left


def test_all_faults_are_told() -> None:
    assert len(unknown(BASE, max_epoch=1, seeds=2, **{"optimizer::learning_rate": 0.1})) == 3


def test_a_component_that_is_disabled_may_be_of_a_package_that_is_not_there() -> None:
    assert unknown(BASE, **{"handlers::other": {"_target_": "nowhere.Handler", "_disabled_": True}}) == []


def test_what_monai_adds_to_track_a_run_is_no_fault(tmp_path: Path) -> None:
    workflow = ConfigWorkflow(
        workflow_type="train",
        config_file=str(CONFIGS / "train.json"),
        logging_file=False,
        tracking="mlflow",
        output_dir=str(tmp_path),
        save_execute_config=False,
    )
    assert unknown_settings(workflow.parser) == []
