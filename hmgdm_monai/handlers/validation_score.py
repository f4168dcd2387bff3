"""The validation loss that a learning-rate schedule reads."""

from __future__ import annotations

from ignite.engine import Engine


class ValidationLoss:
    """Return ``val_loss`` of the evaluator that a handler is attached to; each validation moves the schedule once."""

    def __call__(self, evaluator: Engine) -> float:
        """Return the loss of the validation that has just ended."""
        return float(evaluator.state.metrics["val_loss"])
