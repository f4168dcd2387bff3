"""What schedules and early stopping read of a validation."""

from __future__ import annotations

from ignite.engine import Engine


class ValidationLoss:
    """The latest ``val_loss`` of an evaluator, for handlers that sit on the trainer and ask with the trainer's engine.

    Args:
        evaluator: whose metrics to read.
        sign: -1 where higher has to mean better, as early stopping wants it.
    """

    def __init__(self, evaluator: Engine, sign: float = 1.0) -> None:
        self.evaluator, self.sign = evaluator, sign

    def __call__(self, trainer: Engine) -> float:
        """The signed loss; infinity, the worst there is, before the first validation."""
        return self.sign * float(self.evaluator.state.metrics.get("val_loss", float("inf")))
