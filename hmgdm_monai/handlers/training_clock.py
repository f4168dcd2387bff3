"""Measure the time of a training stage, save it with the checkpoint, and end training when a time budget is spent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

PARTS = ("data", "forward", "backward", "update")  # parts of a training step; forward includes the loss


class HasCpuTime(Protocol):
    """An object that reports its CPU time."""

    @property
    def cpu_s(self) -> float:
        """CPU time in seconds."""


class TrainingClock:
    """Count CPU time, wall time and samples of completed epochs; end training after the epoch that spends the budget.

    Put it into the state of a :class:`~hmgdm_monai.handlers.stage_checkpoint.StageCheckpoint`. It is then attached
    after validation, and a resumed run continues the count. An interrupted epoch is not counted. CPU time is the time
    of all threads of this process. It does not include the worker processes of a data loader, nor the GPU. The CPU time
    of training steps is also counted by part: waiting for data, forward with loss, backward, and update (clipping,
    optimizer, momentum teacher).

    Args:
        cpu_min: budget in minutes of CPU time, validation included, for this stage and the work in ``before``; None
            only counts.
        before: clocks of earlier stages, or other objects that report ``cpu_s``; their time is part of the budget.

    Raises:
        ValueError: the budget is not positive.
    """

    def __init__(self, cpu_min: float | None = None, before: Sequence[HasCpuTime] = ()) -> None:
        if cpu_min is not None and cpu_min <= 0:
            raise ValueError(f"cpu_min must be positive, got {cpu_min}")
        self.cpu_min, self.before = cpu_min, list(before)
        self.counts = {"epochs": 0, "samples": 0, "cpu_s": 0.0, "wall_s": 0.0, "training_cpu_s": 0.0}
        self.counts |= {"training_wall_s": 0.0, "before_cpu_s": 0.0}
        self.counts |= {f"{part}_cpu_s": 0.0 for part in PARTS}
        self._start = self._trained = (0.0, 0.0)
        self._samples, self._mark, self._parts = 0, 0.0, dict.fromkeys(PARTS, 0.0)

    @property
    def cpu_s(self) -> float:
        """CPU time of this stage's epochs, in seconds."""
        return self.counts["cpu_s"]

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after validation."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        # Before the step, because MONAI decollates the batch after it.
        engine.add_event_handler(Events.ITERATION_STARTED, self._count)
        ends = (Events.GET_BATCH_COMPLETED, IterationEvents.LOSS_COMPLETED, IterationEvents.BACKWARD_COMPLETED)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._set_mark)
        engine.add_event_handler(Events.ITERATION_STARTED, self._set_mark)
        for part, event in zip(PARTS, (*ends, IterationEvents.MODEL_COMPLETED), strict=True):
            engine.add_event_handler(event, self._end_part, part)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def state_dict(self) -> dict[str, float]:
        """Return epochs, samples and seconds.

        Seconds are those of whole epochs, of epochs without validation (``training_...``), and of each part of the
        steps. ``before_cpu_s`` is the CPU time of the work before this stage. It is the largest value seen so far,
        because work that an interrupted run has already done takes no time in the next run.
        """
        return dict(self.counts)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue the count from a saved state."""
        self.counts = {**self.counts, **state}

    def _begin(self, engine: Engine) -> None:
        self._start = self._trained = _now()
        self._samples, self._parts = 0, dict.fromkeys(PARTS, 0.0)

    def _count(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        self._samples += int(batch.num_graphs)

    def _set_mark(self, engine: Engine) -> None:
        self._mark = time.process_time()

    def _end_part(self, engine: Engine, part: str) -> None:
        now = time.process_time()
        self._parts[part] += now - self._mark
        self._mark = now

    def _note(self, engine: Engine) -> None:
        self._trained = _now()

    def _end(self, engine: Engine) -> None:
        for name, end in (("", _now()), ("training_", self._trained)):
            for unit, begun, ended in zip(("cpu_s", "wall_s"), self._start, end, strict=True):
                self.counts[name + unit] += ended - begun
        for part, spent in self._parts.items():
            self.counts[f"{part}_cpu_s"] += spent
        self.counts["epochs"] += 1
        self.counts["samples"] += self._samples
        self.counts["before_cpu_s"] = max(self.counts["before_cpu_s"], sum(work.cpu_s for work in self.before))
        if self.cpu_min is not None and self.cpu_s + self.counts["before_cpu_s"] >= 60 * self.cpu_min:
            engine.terminate()


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()
