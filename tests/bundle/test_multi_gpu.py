"""multi_gpu.json: two processes train what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from hmgdm_monai.errors import input_error_in

ROOT = Path(__file__).parents[2]
CONFIGS = ("train.json", "multi_gpu.json")
TOLERANCE = 1e-5


def torchrun(output_dir: Path, manifest: Path, settings: dict[str, Any], ranks: int = 2) -> str:
    """Train by the command of the docs; what it printed."""
    files = [str(ROOT / "bundle/configs" / name) for name in CONFIGS]
    given = {"manifest": manifest, "output_dir": output_dir, **settings}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        + ["-m", "monai.bundle", "run", "training", "--config_file", str(files)]
        + [part for name, value in given.items() for part in (f"--{name}", str(value))],
        cwd=output_dir.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_two_processes_train_what_one_does(
    whole_run: Any,
    workflow: Callable[..., Any],
    outcome: type,
    small_cohort: Path,
    tiny_settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Two epochs in two processes, the last in one: checkpoints know nothing of how many there were."""
    settings = {name: value for name, value in tiny_settings.items() if name != "device"}
    printed = torchrun(tmp_path / "run", small_cohort, {**settings, "max_epochs": 2})
    assert printed.count("hmgdm epoch 2 of 2") == 1  # told by one
    assert outcome(tmp_path / "run").metrics["hmgdm"]["epochs"] == 2
    workflow(tmp_path / "run").run()
    two = outcome(tmp_path / "run")
    for ours, theirs in zip(two.metrics["hmgdm"]["history"], whole_run.metrics["hmgdm"]["history"], strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)
    assert two.weights.keys() == whole_run.weights.keys()
    for name, value in two.weights.items():
        # Adam makes steps of one size, 1e-3, of gradients that are almost nothing: those differ by rounding.
        assert torch.allclose(value, whole_run.weights[name], atol=5e-4), name


def test_who_writes_is_the_first_alone() -> None:
    parser = ConfigParser()
    parser.read_config([str(ROOT / "bundle/configs" / name) for name in CONFIGS])
    parser.resolve_macro_and_relative_ids()
    off = {"hmgdm_monai.handlers.run_tracking.RunTracking", "ignite.handlers.ProgressBar"}
    for side in ("train", "validate"):
        handlers = parser[f"{side}::handlers"]
        assert {h["_target_"] for h in handlers if "_disabled_" in h} == off & {h["_target_"] for h in handlers}
        assert all(h["_disabled_"] == "@is_other_rank" for h in handlers if "_disabled_" in h)


def test_monai_finds_every_property(workflow: Callable[..., Any], whole_run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("hmgdm_monai.ranks.join", lambda: None)  # here is one process, that torchrun has not started
    assert workflow(whole_run.folder, CONFIGS).check_properties() == []


def test_one_process_by_itself_is_told_how(workflow: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path, CONFIGS)
    message = str(input_error_in(caught.value))
    assert "torchrun" in message and "\n" not in message
