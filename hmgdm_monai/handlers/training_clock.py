"""Time that a stage's training takes, kept with its checkpoint, and the end of it when a budget is spent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

PARTS = ("data", "forward", "backward", "update")  # of a training step; the loss is part of forward


class HasCpuTime(Protocol):
    """What tells how much CPU time it has taken."""

    @property
    def cpu_s(self) -> float:
        """In seconds."""


class TrainingClock:
    """Count CPU time, time and samples of the epochs that are done; end training with the epoch that spends a budget.

    As a part of a :class:`~hmgdm_monai.handlers.stage_checkpoint.StageCheckpoint`'s state it is attached behind
    validation and counts on in a resumed run; of an epoch that was broken off nothing is counted. CPU time is that of
    all threads of this process, not of a data loader's workers, and not of a GPU. That of training steps is counted by
    part, too: waiting for data, forward with loss, backward, and update (clipping, optimizer, momentum teacher).

    Args:
        cpu_min: minutes of CPU time, validation included, of this stage and those before; None counts only.
        before: clocks of earlier stages, or other work that tells its ``cpu_s``; its time is part of the budget.

    Raises:
        ValueError: a budget that is not positive.
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
        """Register on the trainer, behind validation."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        # Before the step: MONAI takes the batch apart after it.
        engine.add_event_handler(Events.ITERATION_STARTED, self._count)
        ends = (Events.GET_BATCH_COMPLETED, IterationEvents.LOSS_COMPLETED, IterationEvents.BACKWARD_COMPLETED)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._set_mark)
        engine.add_event_handler(Events.ITERATION_STARTED, self._set_mark)
        for part, event in zip(PARTS, (*ends, IterationEvents.MODEL_COMPLETED), strict=True):
            engine.add_event_handler(event, self._end_part, part)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def state_dict(self) -> dict[str, float]:
        """Epochs and samples; seconds of whole epochs, (``training_...``) of those without validation, and by part.

        ``before_cpu_s`` is the CPU time of what came before: the most that was told, since what a broken run has left
        takes none in the next.
        """
        return dict(self.counts)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Count on from there."""
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
