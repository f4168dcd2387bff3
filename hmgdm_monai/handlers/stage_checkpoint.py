"""Checkpoint of a training stage: everything that makes a resumed run equal an uninterrupted one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from hmgdm_monai.data.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError

logger = logging.getLogger(__name__)


class StageCheckpoint:
    """Save a stage after every epoch, and take it up again.

    Written whole or not at all, and read with ``weights_only=True``. The trainer is no argument: the handler gets it on
    attaching, since a config where trainer and handler name each other is circular.

    The history (one dict of numbers per epoch: training loss, learning rate, validation metrics) is part of the state,
    so
    that curves and ``metrics.json`` cover what happened before an interruption.

    Args:
        path: of the checkpoint file.
        state: what to save, by name: modules, optimizers, schedulers, early stopping; anything with ``state_dict``.
        network: the key of ``state`` whose weights are kept from the best epoch.
        evaluator: its ``state.metrics`` go into the history; None for a stage without validation.
        key_metric: the metric of ``evaluator`` that chooses the best epoch; lower is better.
        settings: what shaped this stage, by name; a checkpoint of other settings is refused.
    """

    def __init__(
        self,
        path: Path | str,
        state: Mapping[str, Any],
        network: str = "network",
        evaluator: Engine | None = None,
        key_metric: str = "val_loss",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.state = dict(state)
        self.network = network
        self.evaluator = evaluator
        self.key_metric = key_metric
        self.settings = dict(settings or {})
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"epoch": 0, "value": float("inf"), "weights": None}
        self.finished = False
        self.stopped_early = False
        self._loss_sum, self._loss_count = 0.0, 0

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after validation, schedule and early stopping, whose state is saved as it ends."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    def resume(self, engine: Engine) -> int:
        """Load the checkpoint, if there is one, into ``state`` and into the trainer.

        Returns:
            The number of epochs that are done; 0 where there is no checkpoint.

        Raises:
            InputError: the file is damaged, or holds a stage of other settings.
        """
        if not self.path.exists():
            return 0
        saved = read_checkpoint(self.path)
        differing = differing_settings(saved["settings"], self.settings)
        if differing:
            raise InputError(
                f"{self.path} was trained with other settings ({differing}); choose another output folder or remove it"
            )
        for name, part in self.state.items():
            part.load_state_dict(saved["state"][name])
        self.history, self.best = saved["history"], saved["best"]
        self.finished, self.stopped_early = saved["finished"], saved["stopped_early"]
        engine.state.epoch = saved["epoch"]
        engine.state.iteration = saved["iteration"]
        logger.info("resumed %s after epoch %d", self.path, saved["epoch"])
        return int(saved["epoch"])

    def finish(self, engine: Engine) -> None:
        """Mark the stage as done, by its last epoch or by early stopping."""
        self.finished = True
        self.stopped_early = engine.state.epoch < engine.state.max_epochs
        self._save(engine)

    @property
    def best_path(self) -> Path:
        """File of the best weights alone, beside the checkpoint."""
        return self.path.with_name(f"{self.path.stem}_best.pt")

    def keep_best(self) -> None:
        """Put the weights of the best epoch into the network, and into their own file unless that holds them.

        What is derived from the weights is keyed by that file's content, so it is not written again without need.
        """
        weights = self.best["weights"]
        if weights is None:
            return
        self.state[self.network].load_state_dict(weights)
        epoch = self.best["epoch"]
        if not self.best_path.exists() or read_checkpoint(self.best_path)["epoch"] != epoch:
            write_checkpoint(self.best_path, {"epoch": epoch, "weights": weights})

    def _start_epoch(self, engine: Engine) -> None:
        self._loss_sum, self._loss_count = 0.0, 0

    def _add_loss(self, engine: Engine) -> None:
        output = engine.state.output
        first = output[0] if isinstance(output, list) else output
        self._loss_sum += float(first["loss"])
        self._loss_count += 1

    def _end_epoch(self, engine: Engine) -> None:
        record = {"epoch": engine.state.epoch, "loss": self._loss_sum / max(1, self._loss_count)}
        optimizer = self.state.get("optimizer")
        if optimizer is not None:
            record["lr"] = float(optimizer.param_groups[0]["lr"])
        if self.evaluator is not None:
            record.update({name: float(value) for name, value in self.evaluator.state.metrics.items()})
        self.history.append(record)
        value = record.get(self.key_metric, record["loss"])
        if value < self.best["value"]:
            weights = {k: v.detach().cpu().clone() for k, v in self.state[self.network].state_dict().items()}
            self.best = {"epoch": engine.state.epoch, "value": value, "weights": weights}
        self._save(engine)

    def _save(self, engine: Engine) -> None:
        write_checkpoint(
            self.path,
            {
                "state": {name: dict(part.state_dict()) for name, part in self.state.items()},
                "epoch": engine.state.epoch,
                "iteration": engine.state.iteration,
                "history": self.history,
                "best": self.best,
                "finished": self.finished,
                "stopped_early": self.stopped_early,
                "settings": self.settings,
            },
        )


def differing_settings(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The settings in which two runs differ, as one line, "name saved, not wanted; ..."; empty where they agree."""
    names = [name for name in {**saved, **wanted} if saved.get(name) != wanted.get(name)]
    return "; ".join(f"{name} {saved.get(name)!r}, not {wanted.get(name)!r}" for name in names)
