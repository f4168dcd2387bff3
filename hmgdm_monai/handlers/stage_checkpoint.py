"""Checkpoint of a training stage: holds everything that makes a resumed run equal to an uninterrupted run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.ranks import is_first_rank

logger = logging.getLogger(__name__)

KEEP = ("best", "last")
_KEYS = {"state", "scaler", "epoch", "iteration", "history", "best", "stopped_early", "settings"}


class StageCheckpoint:
    """Save a stage after every epoch, log the epoch, and resume the stage.

    Only the first rank writes the file, completely or not at all. All ranks read it, with ``weights_only=True``. The
    trainer is not an argument: the handler gets it in :meth:`attach`, because a config in which trainer and handler
    name each other would be circular.

    The history is part of the state, so curves and ``metrics.json`` include the epochs before an interruption. It holds
    one dictionary of numbers per epoch: training loss, learning rate, and metrics if the epoch was validated.

    Args:
        path: path of the checkpoint file.
        state: what to save, by name: modules, optimizers, schedulers, early stopping, or any object with
            ``state_dict``. An object with ``attach`` is attached to the trainer together with the checkpoint.
        network: key in ``state`` of the network whose best weights are kept.
        evaluator: validation engine; its ``state.metrics`` go into the history. None for a stage without validation.
        key_metric: metric of ``evaluator`` that chooses the best epoch; lower is better.
        settings: settings of this stage, by name. A checkpoint with other settings is refused.
        log_epochs: log one line after each epoch.
        keep: which weights the stage ends with, those of the "best" or of the "last" epoch. Use "last" for a network
            that sets its own targets: its loss does not show which epoch is better.

    Raises:
        ValueError: ``keep`` is neither "best" nor "last".
    """

    def __init__(
        self,
        path: Path | str,
        state: Mapping[str, Any],
        network: str = "network",
        evaluator: Engine | None = None,
        key_metric: str = "val_loss",
        settings: Mapping[str, Any] | None = None,
        log_epochs: bool = True,
        keep: str = "best",
    ) -> None:
        if keep not in KEEP:
            raise ValueError(f"keep must be one of {KEEP}, not {keep!r}")
        self.path = Path(path)
        self.state = dict(state)
        self.network = network
        self.evaluator = evaluator
        self.key_metric = key_metric
        self.settings = dict(settings or {})
        self.log_epochs, self.keep = log_epochs, keep
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"epoch": 0, "value": float("inf"), "weights": None}
        self.stopped_early = False
        self._loss_sum, self._loss_count, self._lr = 0.0, 0, 0.0
        self._scaler_state: dict[str, Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after validation and learning-rate schedule.

        Parts of ``state`` with ``attach`` are attached first.
        """
        for part in self.state.values():
            if hasattr(part, "attach"):
                part.attach(engine)
        engine.add_event_handler(Events.STARTED, self._restore_scaler)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    def resume(self, engine: Engine) -> int:
        """Load the checkpoint, if there is one, into ``state`` and into the trainer.

        Args:
            engine: the trainer.

        Returns:
            Number of completed epochs; 0 if there is no checkpoint.

        Raises:
            InputError: the file is damaged, or belongs to other settings or to another version.
        """
        if not self.path.exists():
            return 0
        saved = read_checkpoint(self.path)
        if not isinstance(saved, dict) or saved.keys() != _KEYS:
            raise InputError(
                f"{self.path}: is no checkpoint of a training stage; remove it to start from the beginning"
            )
        differing = differing_settings(saved["settings"], self.settings)
        if differing:
            raise InputError(
                f"{self.path} was trained with other settings ({differing}); choose another output folder or remove it"
            )
        for name, part in self.state.items():
            try:
                part.load_state_dict(saved["state"][name])
            except (KeyError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:120]
                raise InputError(
                    f"{self.path}: {name} does not fit; the file is of another version ({reason}); choose another "
                    "output folder, or remove the file"
                ) from error
        self.history, self.best = saved["history"], saved["best"]
        self.stopped_early, self._scaler_state = saved["stopped_early"], saved["scaler"]
        engine.state.epoch = saved["epoch"]
        engine.state.iteration = saved["iteration"]
        if self.evaluator is not None and self.best["epoch"]:  # MONAI logs these as the best metric so far
            state: Any = self.evaluator.state
            state.best_metric = self.best["value"]
            state.best_metric_epoch = self.best["epoch"]
        logger.info("resumed %s after epoch %d", self.path, saved["epoch"])
        return int(saved["epoch"])

    @property
    def best_path(self) -> Path:
        """File of the kept weights, beside the checkpoint."""
        return self.path.with_name(f"{self.path.stem}_best.pt")

    def keep_best(self) -> None:
        """Load the kept weights, of the best or of the last epoch, into the network, and write them to their own file.

        A stage that was never validated (fewer epochs than the validation interval) keeps its current weights. Results
        that depend on the weights are identified by the content of this file, which is the same for the same weights.
        """
        network = self.state[self.network]
        epoch = self.best["epoch"]
        if self.keep == "last":
            epoch = len(self.history)
        elif self.best["weights"] is not None:
            network.load_state_dict(self.best["weights"])
        elif self.history:
            logger.warning("%s: no epoch was validated; the weights of the last epoch are kept", self.path.name)
        if is_first_rank():
            write_checkpoint(self.best_path, {"epoch": epoch, "weights": _weights(network)})

    def _restore_scaler(self, engine: Engine) -> None:
        # MONAI creates the scaler of mixed precision when the run starts, so its state is loaded then.
        scaler = getattr(engine, "scaler", None)
        if self._scaler_state is not None and scaler is not None:
            scaler.load_state_dict(self._scaler_state)
        self._scaler_state = None

    def _start_epoch(self, engine: Engine) -> None:
        self._loss_sum, self._loss_count = 0.0, 0
        optimizer = self.state.get("optimizer")
        # Recorded here, because at the end of the epoch the schedule has already set the next learning rate.
        self._lr = 0.0 if optimizer is None else float(optimizer.param_groups[0]["lr"])

    def _add_loss(self, engine: Engine) -> None:
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        self._loss_sum += float(first["loss"])
        self._loss_count += 1

    def _end_epoch(self, engine: Engine) -> None:
        record = {"epoch": engine.state.epoch, "loss": self._loss_sum / max(1, self._loss_count)}
        if "optimizer" in self.state:
            record["lr"] = self._lr
        # The evaluator keeps the metrics of its last run. With a longer interval that run was in an earlier epoch.
        if self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch:
            record.update({name: float(value) for name, value in self.evaluator.state.metrics.items()})
        self.history.append(record)
        value = record["loss"] if self.evaluator is None else record.get(self.key_metric, float("inf"))
        if value < self.best["value"]:
            self.best = {
                "epoch": engine.state.epoch,
                "value": value,
                "weights": _weights(self.state[self.network]),
            }
        # Early stopping runs before this handler. The checkpoint records it, so that a run killed right after this
        # epoch is not continued.
        self.stopped_early = bool(engine.should_terminate)
        self._save(engine)
        if self.log_epochs:
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in record.items() if name != "epoch")
            logger.info(
                "%s epoch %d of %d: %s; best epoch %d",
                self.path.stem,
                engine.state.epoch,
                engine.state.max_epochs,
                numbers,
                self.best["epoch"],
            )

    def _save(self, engine: Engine) -> None:
        if not is_first_rank():
            return
        scaler = getattr(engine, "scaler", None)
        write_checkpoint(
            self.path,
            {
                "state": {name: dict(part.state_dict()) for name, part in self.state.items()},
                "scaler": None if scaler is None else scaler.state_dict(),
                "epoch": engine.state.epoch,
                "iteration": engine.state.iteration,
                "history": self.history,
                "best": self.best,
                "stopped_early": self.stopped_early,
                "settings": self.settings,
            },
        )


def differing_settings(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return the settings in which two runs differ, as one line "name saved, not wanted; ...".

    The line is empty if the settings are equal. A nested setting is named by its path, "network.heads".
    """
    old, new = _flat(saved), _flat(wanted)
    return "; ".join(
        f"{name} {old.get(name)!r}, not {new.get(name)!r}" for name in {**old, **new} if old.get(name) != new.get(name)
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _weights(network: Any) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
