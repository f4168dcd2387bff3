"""The clock of a stage: what it counts, when it ends training, and that it counts on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from hmgdm_monai.handlers.training_clock import PARTS, TrainingClock


def add(stage: object, clock: TrainingClock) -> TrainingClock:
    stage.checkpoint.state["clock"] = clock
    clock.attach(stage.trainer)
    return clock


def test_it_counts_tiles_and_epochs_and_goes_on_after_a_break(toy_stage: Callable) -> None:
    first = toy_stage(2)
    clock = add(first, TrainingClock())
    first.trainer.run()
    assert clock.counts["epochs"] == 2 and clock.counts["samples"] == 24
    assert clock.counts["wall_s"] > clock.counts["training_wall_s"] > 0 and clock.cpu_s > 0
    parts = [clock.counts[f"{part}_cpu_s"] for part in PARTS]
    assert min(parts) >= 0 and 0 < sum(parts) <= clock.counts["training_cpu_s"] * 1.001
    first.checkpoint._save(first.trainer)  # attached here behind the checkpoint, which a config's part is not
    second = toy_stage(3)
    again = add(second, TrainingClock())
    assert second.checkpoint.resume(second.trainer) == 2
    assert again.counts == clock.counts
    second.trainer.run()
    assert again.counts["epochs"] == 3 and again.counts["samples"] == 36 and again.cpu_s > clock.cpu_s


def test_a_budget_ends_training_with_its_epoch(toy_stage: Callable) -> None:
    stage = toy_stage(50)
    clock = add(stage, TrainingClock(1e-9))
    stage.trainer.run()
    assert stage.trainer.state.epoch == 1 and clock.counts["epochs"] == 1 and clock.counts["samples"] == 12


def test_earlier_stages_count(toy_stage: Callable) -> None:
    earlier = TrainingClock()
    earlier.load_state_dict({**earlier.state_dict(), "cpu_s": 6e5})
    for before, epochs in (((), 3), ((earlier,), 1)):
        stage = toy_stage(3)
        add(stage, TrainingClock(1e4, before))
        stage.trainer.run()
        assert stage.trainer.state.epoch == epochs


def test_what_came_before_stays_counted_when_a_broken_run_finds_it_done(toy_stage: Callable) -> None:
    work = SimpleNamespace(cpu_s=6e5)
    first = toy_stage(2)
    clock = add(first, TrainingClock(before=(work,)))
    first.trainer.run()
    assert clock.counts["before_cpu_s"] == 6e5 and clock.cpu_s < 6e5
    first.checkpoint._save(first.trainer)
    work.cpu_s = 0.0
    second = toy_stage(4)
    again = add(second, TrainingClock(1e4, (work,)))
    second.checkpoint.resume(second.trainer)
    second.trainer.run()
    assert again.counts["before_cpu_s"] == 6e5 and second.trainer.state.epoch == 3


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        TrainingClock(0)
