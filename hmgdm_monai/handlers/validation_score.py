"""What a learning-rate schedule reads of a validation."""

from __future__ import annotations

from ignite.engine import Engine


class ValidationLoss:
    """The ``val_loss`` of the evaluator that a handler sits on: each validation moves the schedule once."""

    def __call__(self, evaluator: Engine) -> float:
        """The loss of the validation that has just ended."""
        return float(evaluator.state.metrics["val_loss"])
