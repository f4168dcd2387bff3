"""A stage that was interrupted, however often, ends as one that was not."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Events

from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.stage_checkpoint import differing_settings
from hmgdm_monai.metrics.mean_loss import MeanLoss
from hmgdm_monai.tasks.pretraining.stage import run_stage


class Killed(BaseException):
    """Stands for the end of a process."""


def run(stage: SimpleNamespace) -> SimpleNamespace:
    stage.checkpoint.resume(stage.trainer)
    run_stage(stage.trainer, stage.checkpoint)
    return stage


def kill_after(stage: SimpleNamespace, iterations: int) -> None:
    """Run until so many steps are done, counted over all epochs, and drop what is in memory."""

    def stop(engine) -> None:
        raise Killed

    stage.trainer.add_event_handler(Events.ITERATION_STARTED(once=iterations + 1), stop)
    with pytest.raises(Killed):
        run(stage)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("settings", [{}, {"patience": 2, "lr": 0.3}, {"val_interval": 2}, {"accumulation_steps": 2}])
def test_interrupted_equals_uninterrupted(toy_stage: Callable, tmp_path: Path, settings: dict) -> None:
    whole = run(toy_stage(8, path=tmp_path / "whole.pt", **settings))
    for done in (1, 4, 8):  # in the first epoch, in the second, in the third (three steps each)
        kill_after(toy_stage(8, **settings), done)
    run(toy_stage(5, **settings))
    parts = run(toy_stage(8, **settings))
    assert parts.checkpoint.history == whole.checkpoint.history
    assert same(parts.network.state_dict(), whole.network.state_dict())
    ours, theirs = (torch.load(s.checkpoint.path, weights_only=True) for s in (parts, whole))
    assert ours["state"]["scheduler"] == theirs["state"]["scheduler"]
    assert ours["state"]["early_stop"] == theirs["state"]["early_stop"]
    for key, moments in theirs["state"]["optimizer"]["state"].items():
        assert same(moments, ours["state"]["optimizer"]["state"][key])
    assert [p["lr"] for p in ours["state"]["optimizer"]["param_groups"]] == [
        p["lr"] for p in theirs["state"]["optimizer"]["param_groups"]
    ]


def test_the_seed_decides(toy_stage: Callable, tmp_path: Path) -> None:
    histories = [
        run(toy_stage(2, seed=seed, path=tmp_path / f"{name}.pt")).checkpoint.history
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert histories[0] == histories[1]
    assert histories[0][0]["loss"] != histories[2][0]["loss"]


def test_early_stopping_ends_a_stage_for_good(toy_stage: Callable) -> None:
    stage = run(toy_stage(30, patience=2, lr=0.5))
    epochs = len(stage.checkpoint.history)
    assert epochs < 30 and stage.checkpoint.stopped_early
    best = min(stage.checkpoint.history, key=lambda record: record["val_loss"])
    assert epochs == best["epoch"] + 2 and stage.checkpoint.best["epoch"] == best["epoch"]
    again = run(toy_stage(60, patience=2, lr=0.5))
    assert again.checkpoint.history == stage.checkpoint.history
    assert same(again.network.state_dict(), stage.network.state_dict())


def test_stopped_early_is_known_though_killed_at_once(toy_stage: Callable) -> None:
    """Also where the epoch that ends the stage is the last one it was given."""
    epochs = len(run(toy_stage(30, patience=2, lr=0.5)).checkpoint.history)
    stage = toy_stage(epochs, patience=2, lr=0.5)
    stage.checkpoint.path.unlink()
    stage.trainer.add_event_handler(Events.COMPLETED, lambda _: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        run(stage)
    assert len(run(toy_stage(60, patience=2, lr=0.5)).checkpoint.history) == epochs


def test_the_best_epoch_s_weights_are_kept(toy_stage: Callable) -> None:
    stage = run(toy_stage(4, lr=0.3))
    values = [record["val_loss"] for record in stage.checkpoint.history]
    stage.evaluator.run(1)
    assert stage.evaluator.state.metrics["val_loss"] == pytest.approx(min(values), abs=1e-7)
    assert min(values) < values[-1]  # else the last would do
    best = torch.load(stage.checkpoint.best_path, weights_only=True)
    assert same(best["weights"], stage.network.state_dict())
    content = stage.checkpoint.best_path.read_bytes()
    run(toy_stage(4, lr=0.3))
    assert stage.checkpoint.best_path.read_bytes() == content  # latents are keyed by it


def test_another_training_does_not_keep_the_former_best_file(toy_stage: Callable) -> None:
    stage = run(toy_stage(1))
    stage.checkpoint.path.unlink()
    other = run(toy_stage(1, seed=5))
    best = torch.load(other.checkpoint.best_path, weights_only=True)
    assert same(best["weights"], other.network.state_dict())
    assert not same(best["weights"], stage.network.state_dict())


def test_only_validated_epochs_have_metrics_and_can_be_best(toy_stage: Callable) -> None:
    stage = run(toy_stage(5, val_interval=2))
    assert [r["epoch"] for r in stage.checkpoint.history if "val_loss" in r] == [2, 4]
    assert stage.checkpoint.best["epoch"] in (2, 4)


def test_never_validated_keeps_the_last(toy_stage: Callable, caplog: pytest.LogCaptureFixture) -> None:
    stage = run(toy_stage(1, val_interval=5))
    assert "no epoch was validated" in caplog.text
    assert stage.checkpoint.best_path.exists()


def test_learning_rates_are_those_of_their_epochs(toy_stage: Callable) -> None:
    history = run(toy_stage(10, lr=0.5)).checkpoint.history
    rates = [record["lr"] for record in history]
    assert rates[0] == 0.5 and rates == sorted(rates, reverse=True) and rates[-1] < 0.5


def test_other_settings_are_refused_by_name(toy_stage: Callable) -> None:
    run(toy_stage(1))
    stage = toy_stage(2, lr=0.01)
    with pytest.raises(InputError, match=r"lr 0\.001, not 0\.01") as caught:
        stage.checkpoint.resume(stage.trainer)
    assert "\n" not in str(caught.value) and "hidden_dim" not in str(caught.value)
    assert differing_settings({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == "a.c 2, not 3; d None, not 4"
    assert differing_settings({"a": {"b": 1}}, {"a": {"b": 1}}) == ""


def test_a_network_of_another_version_is_refused_in_one_line(toy_stage: Callable) -> None:
    run(toy_stage(1))
    stage = toy_stage(2)
    stage.checkpoint.state["network"].register_buffer("new", torch.zeros(2))
    with pytest.raises(InputError, match=r"stage\.pt: network does not fit.*another output folder") as caught:
        run(stage)
    assert "\n" not in str(caught.value)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "pickle", "trap", "tensor", "other"])
def test_a_file_that_is_no_checkpoint_is_refused(toy_stage: Callable, tmp_path: Path, kind: str) -> None:
    path = run(toy_stage(1)).checkpoint.path
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-4000])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    elif kind == "trap":
        torch.save({"state": Trap(tmp_path / "sprung")}, path)
    elif kind in ("tensor", "other"):
        torch.save(torch.zeros(3) if kind == "tensor" else {"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"not a checkpoint")
    stage = toy_stage(2)
    with pytest.raises(InputError, match=r"stage\.pt: is no checkpoint") as caught:
        stage.checkpoint.resume(stage.trainer)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_leaves_the_last_checkpoint(toy_stage: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    run(toy_stage(1))
    stage = toy_stage(3)
    content = stage.checkpoint.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="disk is full"):
            run(stage)
    assert stage.checkpoint.path.read_bytes() == content
    assert [p.name for p in stage.checkpoint.path.parent.iterdir() if p.name.endswith(".tmp")] == []
    assert len(run(toy_stage(3)).checkpoint.history) == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_mixed_precision_resumes_with_its_scale(toy_stage: Callable) -> None:
    settings = {"device": "cuda", "amp": True}
    kill_after(toy_stage(4, **settings), 7)
    saved = torch.load(toy_stage(4).checkpoint.path, weights_only=True)["scaler"]
    assert saved["_growth_tracker"] > 0
    stage = toy_stage(4, **settings)
    seen = []
    stage.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), lambda e: seen.append(e.scaler.state_dict()))
    run(stage)
    assert seen == [saved]
    assert all(torch.isfinite(p).all() for p in stage.network.parameters())
    assert stage.checkpoint.history[-1]["loss"] < 10


def test_the_last_epoch_is_kept_where_that_is_asked_for(toy_stage: Callable, tmp_path: Path) -> None:
    for keep, epoch in (("best", 1), ("last", 2)):
        stage = run(toy_stage(2, path=tmp_path / f"{keep}.pt"))
        checkpoint, trained = stage.checkpoint, stage.network.state_dict()
        last = {name: value.clone() for name, value in trained.items()}
        first = {name: torch.zeros_like(value) for name, value in trained.items()}
        checkpoint.best, checkpoint.keep = {"epoch": 1, "value": 0.0, "weights": first}, keep
        checkpoint.keep_best()
        assert same(stage.network.state_dict(), first if keep == "best" else last)
        saved = torch.load(checkpoint.best_path, weights_only=True)
        assert saved["epoch"] == epoch and same(saved["weights"], stage.network.state_dict())
    with pytest.raises(ValueError, match="keep must be"):
        type(checkpoint)(tmp_path / "x.pt", {}, keep="first")


@pytest.fixture
def losses_are(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that sets the losses of the validations that follow, in their order."""

    def given(*losses: float) -> None:
        told = iter(losses)
        monkeypatch.setattr(MeanLoss, "compute", lambda self: next(told))

    return given


def test_schedule_and_early_stop_count_validations_and_not_epochs(
    toy_stage: Callable, losses_are: Callable[..., None]
) -> None:
    """With a validation every seventh epoch: the patience of both is of validations."""
    stage = toy_stage(100, val_interval=7, patience=4, lr=1e-3)  # the schedule's own patience is 1
    losses_are(1.0, 2.0, 2.0, 2.0, 2.0)
    rates: list[float] = []
    stage.trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: rates.append(stage.optimizer.param_groups[0]["lr"])
    )
    run(stage)
    # The first validation is the best; four follow without a better one.
    assert len(rates) == 5 * 7 and stage.checkpoint.stopped_early
    # Two of them, at epochs 14 and 21, lower the rate once, and the two at 28 and 35 once more.
    assert rates == pytest.approx(21 * [1e-3] + 14 * [6e-4])
    assert stage.optimizer.param_groups[0]["lr"] == pytest.approx(3.6e-4)


def test_training_goes_on_while_the_patience_in_validations_lasts(
    toy_stage: Callable, losses_are: Callable[..., None]
) -> None:
    stage = toy_stage(20, val_interval=7, patience=2)
    losses_are(1.0, 2.0)
    run(stage)
    assert stage.trainer.state.epoch == 20 and not stage.checkpoint.stopped_early
