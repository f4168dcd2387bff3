"""Clip gradients and check the loss, for trainers that use MONAI's own training step."""

from __future__ import annotations

import math
from typing import Any

from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

from hmgdm_monai.errors import InputError


class ClipGradients:
    """Clip gradients to a maximum norm before each optimizer step, and end a run if its loss is not finite.

    Args:
        max_norm: maximum norm of all gradients together.
    """

    def __init__(self, max_norm: float = 10.0) -> None:
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check the loss and clip the gradients, after the backward pass.

        Raises:
            InputError: the loss is infinite or NaN.
        """
        trainer: Any = engine  # a MONAI trainer, which has network, optimizer and scaler
        loss = trainer.state.output["loss"].item()
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} in epoch {engine.state.epoch}; lower the learning rates, or switch mixed "
                "precision off"
            )
        if getattr(trainer, "scaler", None) is not None:
            trainer.scaler.unscale_(trainer.optimizer)
        nn.utils.clip_grad_norm_(trainer.network.parameters(), self.max_norm)
