"""One step of self-supervised training or validation, called by MONAI engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.ranks import average


class SelfSupervisedIteration(ABC):
    """An ``iteration_update`` that needs no labels.

    MONAI's own iteration splits a batch into image and label and later decollates its output. This breaks PyG batches
    without an error, so this class returns tensors only. All random numbers of a step depend on (seed, iteration). So a
    run that is resumed from a checkpoint draws the same numbers as an uninterrupted run, and every validation draws the
    same numbers.

    If several ranks share a batch (multi_gpu.json), :meth:`compute` returns one part of the loss per rank. The average
    of the parts over ranks is the loss of the whole batch: random numbers are the same as in one process
    (:class:`~hmgdm_monai.diffusion.draws.BatchDraws`), means over entities are weighted
    (:func:`~hmgdm_monai.ranks.mean_weight`), the network averages the gradients, and this class averages the reported
    loss. Every rank validates on the whole validation set, so learning-rate schedule and early stopping agree on all
    ranks.

    Args:
        loss: loss module of the method.
        seed: seed of the run.
        max_grad_norm: maximum norm of the gradients; larger gradients are clipped. None does not clip.
    """

    def __init__(self, loss: nn.Module, seed: int = 0, max_grad_norm: float | None = 10.0) -> None:
        self.loss = loss
        self.seed = seed
        self.max_grad_norm = max_grad_norm

    @abstractmethod
    def compute(self, network: Any, batch: EntityGraph, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss (scalar) of a batch, and one vector per sample (B, S) for monitoring.

        Each method restricts ``network`` to its own type. In training mode, the network gets this rank's part of the
        batch. In evaluation mode, it gets a whole batch.

        Args:
            network: network of the method, on the device of the batch.
            batch: graphs or tiles of the batch.
            generator: source of all random numbers of the step.
        """

    def __call__(self, engine: SupervisedTrainer, batchdata: EntityGraph) -> dict[str, Tensor]:
        """Train on one batch: forward, backward, clip gradients, optimizer step.

        Mixed precision and gradient accumulation follow the settings of the engine.
        """
        batch = self._to_device(engine, batchdata)
        # The bottleneck draws from the global generator, so its seed is set too.
        torch.manual_seed(self._step_seed(engine.state.iteration))
        generator = torch.Generator().manual_seed(self._step_seed(engine.state.iteration))
        accumulate = engine.accumulation_steps
        place = (engine.state.iteration - 1) % engine.state.epoch_length
        if place % accumulate == 0:
            engine.optimizer.zero_grad(set_to_none=True)
        engine.network.train()
        with _autocast(engine):
            loss, pred = self.compute(engine.network, batch, generator)
        reported = average(loss)
        _check_finite("loss", reported, engine)
        engine.state.output = self._output(reported, pred)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        scaler = engine.scaler
        (loss / accumulate if scaler is None else scaler.scale(loss / accumulate)).backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if (place + 1) % accumulate == 0 or place + 1 == engine.state.epoch_length:
            if scaler is not None:
                scaler.unscale_(engine.optimizer)
            if self.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_grad_norm)
            if scaler is None:
                engine.optimizer.step()
            else:
                scaler.step(engine.optimizer)
                scaler.update()
            self.after_step(engine)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def after_step(self, engine: SupervisedTrainer) -> None:  # noqa: B027 - subclasses may override it
        """Do what is needed after each optimizer step; does nothing by default."""

    def watch(self, network: Any, batch: EntityGraph) -> dict[str, Tensor]:
        """Return further validation outputs, one row per sample; an empty dictionary by default."""
        return {}

    def validate(self, engine: SupervisedEvaluator, batchdata: EntityGraph) -> dict[str, Tensor]:
        """Compute the loss of one validation batch.

        Split, timestep and noise are the same in every validation.
        """
        batch = self._to_device(engine, batchdata)
        generator = torch.Generator().manual_seed(self._step_seed(-engine.state.iteration))
        engine.network.eval()
        with torch.no_grad(), _autocast(engine):
            loss, pred = self.compute(engine.network, batch, generator)
            watched = self.watch(engine.network, batch)
        # Comparisons with NaN are always false, so neither early stopping nor the best epoch would notice it.
        _check_finite("validation loss", loss, engine)
        engine.state.output = self._output(loss, pred) | watched
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _step_seed(self, iteration: int) -> int:
        # Step seeds of neighboring run seeds are far apart, so runs with seeds 0 and 1 share no random numbers.
        return (self.seed * 1_000_003 + iteration) % 2**63

    @staticmethod
    def _to_device(engine: Any, batchdata: EntityGraph) -> EntityGraph:
        if batchdata is None:
            raise ValueError("there is no batch: the data loader is empty")
        return batchdata.to(engine.state.device, non_blocking=engine.non_blocking)

    @staticmethod
    def _output(loss: Tensor, pred: Tensor) -> dict[str, Tensor]:
        # Decollation needs tensors with a batch dimension. There is no label, so zeros take its place.
        pred = pred.detach().float()
        return {CommonKeys.PRED: pred, CommonKeys.LABEL: pred.new_zeros(pred.shape[0]), CommonKeys.LOSS: loss}


def _check_finite(name: str, loss: Tensor, engine: Any) -> None:
    if not torch.isfinite(loss):
        raise InputError(
            f"the {name} became {loss.item()} in epoch {engine.state.epoch}, iteration {engine.state.iteration}; lower "
            "the learning rate, or switch mixed precision off; the checkpoint holds the last complete epoch, if any"
        )


def _autocast(engine: Any) -> Any:
    return torch.autocast("cuda", **engine.amp_kwargs) if engine.amp else nullcontext()
