"""One step of training on patients, called by MONAI engines."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor, nn
from torch_geometric.data import Batch

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.patient_loss import PatientLoss


class PatientIteration:
    """An ``iteration_update`` over batches of patient bags.

    It returns tensors only, because MONAI's decollation would split PyG batches wrongly: ``pred`` (B, K), ``label`` (B,
    V) of outcomes, and ``loss``. Dropout depends on (seed, iteration), so a resumed run draws the same numbers as an
    uninterrupted run.

    Args:
        loss: computes the loss from outputs (B, K) and each number of the outcomes (B,).
        values: (N, V) outcomes of all patients, by their ``place`` in the data set.
        seed: seed of the fold.
        max_grad_norm: maximum norm of the gradients; larger gradients are clipped. None does not clip.
    """

    def __init__(self, loss: PatientLoss, values: Tensor, seed: int = 0, max_grad_norm: float | None = 10.0) -> None:
        self.loss, self.values = loss, torch.as_tensor(values)
        self.seed, self.max_grad_norm = seed, max_grad_norm

    def __call__(self, engine: SupervisedTrainer, batchdata: Batch) -> dict[str, Tensor]:
        """Train on one batch of patients."""
        bag, values = self._on_device(engine, batchdata)
        torch.manual_seed((self.seed * 1_000_003 + engine.state.iteration) % 2**63)
        engine.network.train()
        engine.optimizer.zero_grad(set_to_none=True)
        output = engine.network(bag)
        loss = self.loss(output, *values.unbind(1))
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss became {float(loss)} in epoch {engine.state.epoch}; lower the learning rate, or check the "
                "features for extreme values"
            )
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_grad_norm)
        engine.optimizer.step()
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        engine.state.output = self._output(output, values, loss)
        return engine.state.output

    def validate(self, engine: SupervisedEvaluator, batchdata: Batch) -> dict[str, Tensor]:
        """Compute the outputs for one batch of patients, without gradients."""
        bag, values = self._on_device(engine, batchdata)
        engine.network.eval()
        with torch.no_grad():
            output = engine.network(bag)
            loss = self.loss(output, *values.unbind(1))
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        engine.state.output = self._output(output, values, loss)
        return engine.state.output

    def _on_device(self, engine: Any, batchdata: Batch) -> tuple[Batch, Tensor]:
        values = self.values[batchdata.place]  # before the batch moves, so that nothing waits for a GPU
        return batchdata.to(engine.state.device), values.to(engine.state.device)

    @staticmethod
    def _output(output: Tensor, values: Tensor, loss: Tensor) -> dict[str, Tensor]:
        return {CommonKeys.PRED: output.detach(), CommonKeys.LABEL: values, CommonKeys.LOSS: loss.detach()}
