"""Overrides of the command line, whatever they change: they work, are recorded, and are part of what a run is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.errors import input_error_in
from hmgdm_monai.saving.encoder_file import load_encoder

STEP = {"_target_": "torch.optim.lr_scheduler.StepLR", "optimizer": "@optimizer", "step_size": 1, "gamma": 0.5}
DATASET = "$torch.utils.data.Subset(@data.latent_graphs('training', views=True), range(8))"


@pytest.fixture(scope="module")
def run(workflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function (output_dir, **overrides) that trains two epochs on stores that all runs share."""
    stores = tmp_path_factory.mktemp("stores")

    def train(output_dir: Path, **settings: Any) -> Path:
        given = {"max_epochs": 2, "probe_interval": 50, "dataset_dir": str(stores), **settings}
        workflow(output_dir, **given).run()
        return output_dir

    return train


def recorded(settings: Any, path: str) -> Any:
    for name in path.split("::"):
        settings = settings[name]
    return settings


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"network_def::hidden_dim": 24}, "network_def::hidden_dim", 24),
        ({"network_def::layer_differences": True}, "network_def::layer_differences", True),
        ({"optimizer::_target_": "torch.optim.AdamW"}, "optimizer::_target_", "torch.optim.AdamW"),
        ({"optimizer::lr": "$1 / 100"}, "optimizer::lr", 0.01),
        ({"lr_scheduler": STEP}, "lr_scheduler::gamma", 0.5),
        ({"loss": {"_target_": "users_parts.AbsoluteLoss", "weight": 2.0}}, "loss::weight", 2.0),
        ({"train::dataloader::batch_size": 5}, "train::dataloader::batch_size", 5),
        ({"train::dataset": DATASET}, "train::dataloader::dataset", DATASET),
        ({"train::trainer::accumulation_steps": 2}, "train::trainer::accumulation_steps", 2),
        ({"train::trainer::epoch_length": 2}, "train::trainer::epoch_length", 2),
        ({"noising::scheduler::beta_end": 0.01}, "noising::scheduler::beta_end", 0.01),
        ({"data::degrade::blur_probability": 0.9}, "data::degrade::blur_probability", 0.9),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_override_trains_is_recorded_and_leaves_a_model_that_loads(
    given: dict[str, Any], path: str, value: Any, run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run(tmp_path, **given)
    settings = json.loads((folder / "settings.json").read_text())["settings"]
    assert recorded(settings, path) == value
    model = load_encoder(folder / "model.pt")
    assert model.run_settings == settings
    with torch.inference_mode():
        assert model(torch.randint(0, 256, (1, 3, 128, 128))).isfinite().all()
    history = json.loads((folder / "metrics.json").read_text())["hmgdm"]["history"]
    if path == "lr_scheduler::gamma":
        assert [record["lr"] for record in history] == [1e-3, 5e-4]
    if path == "network_def::hidden_dim":
        assert model.hmgdm.encoder.hidden_dim == 24


def test_a_run_is_not_resumed_with_another_optimizer(run: Callable[..., Path], tmp_path: Path) -> None:
    run(tmp_path)
    for given, told in (
        (
            {"optimizer::_target_": "torch.optim.AdamW"},
            "optimizer._target_ 'torch.optim.Adam', not 'torch.optim.AdamW'",
        ),
        ({"lr_scheduler": STEP}, "lr_scheduler._target_"),
        ({"train::dataset": DATASET}, "train.dataloader.dataset"),
        ({"handlers::lr_schedule::epoch_level": False}, "handlers.lr_schedule.epoch_level None, not False"),
    ):
        with pytest.raises(RuntimeError) as caught:
            run(tmp_path, max_epochs=3, **given)
        message = str(input_error_in(caught.value))
        assert told in message and "holds a run with other settings" in message and "\n" not in message
    # What only watches or continues a training makes no other run.
    run(tmp_path, max_epochs=3, num_workers=0, val_interval=3, **{"handlers::progress::desc": "again"})
    assert json.loads((tmp_path / "metrics.json").read_text())["hmgdm"]["epochs"] == 3


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ({"max_epoch": 2}, "max_epochs"),
        ({"optimizer::learning_rate": 0.1}, ""),
        ({"train::itération": {}}, "iteration"),
    ],
)
def test_a_misspelled_setting_ends_the_run_before_it_begins(
    given: dict[str, Any], near: str, run: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(tmp_path / "run", **given)
    message = str(input_error_in(caught.value))
    assert next(iter(given)).split("::")[-1] in message and "\n" not in message
    assert message.endswith(f"did you mean {near}?") or not near
    assert not (tmp_path / "run/settings.json").exists()


def test_a_transform_of_the_user_s_own_is_in_the_stores_keys_and_in_the_model(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, package = str(tmp_path / "stores"), "hmgdm_monai.transforms"
    own = {"_target_": "users_parts.Darkend", "keys": "image", "share": 0.5}
    cut = {"_target_": f"{package}.cut_entities.CutEntitiesd", "keys": "image", "cutter": "@cutter"}
    steps = [cut, own, {"_target_": f"{package}.entity_graph.BuildEntityGraphd", "keys": "image"}]
    plain = run(tmp_path / "plain", dataset_dir=stores, max_epochs=1)
    before = set((tmp_path / "stores/graphs").iterdir())
    changed = run(tmp_path / "own", dataset_dir=stores, max_epochs=1, **{"recipe::transforms::transforms": steps})
    graphs = sorted(set((tmp_path / "stores/graphs").iterdir()) - before)
    assert len(graphs) == len(before) == 6  # none of the other run's
    monkeypatch.delenv("HMGDM_TRUSTED_PACKAGES", raising=False)
    as_came = load_encoder(plain / "model.pt")  # names nothing that needs trust
    with pytest.raises(ValueError) as caught:
        load_encoder(changed / "model.pt").to_sample(torch.zeros(3, 128, 128, dtype=torch.uint8))
    assert "HMGDM_TRUSTED_PACKAGES=users_parts" in str(caught.value) and "\n" not in str(caught.value)
    monkeypatch.setenv("HMGDM_TRUSTED_PACKAGES", "users_parts")
    model = load_encoder(changed / "model.pt")
    image = GraphStore(sorted(before))[0].image[0]
    stored, again = GraphStore(graphs)[0], model.to_sample(image)
    assert torch.equal(again.image, stored.image) and torch.equal(again.label_map, stored.label_map)
    assert torch.equal(stored.image[0], (image * 0.5).to(torch.uint8))
    assert torch.equal(as_came.to_sample(image).image[0], image)


def test_each_fault_of_a_command_line_is_one_line(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", "bundle/configs/train.json"]
        + [
            "--network_def#hiden_dim",
            "8",
            "--optimizer#_target_",
            "torch.optim.AdamW",
            "--optimizer#weight_decay",
            "0.1",
        ]
        + ["--max_epoch", "3", "--amp", "maybe", "--output_dir", str(tmp_path / "run")],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-3:] == [
        "error: amp: must be true or false, not maybe",
        "max_epoch: there is no such setting; did you mean max_epochs?",
        "network_def#hiden_dim: build_hmgdm has no such argument; did you mean hidden_dim?",
    ]
    assert list(tmp_path.iterdir()) == []
