"""Early stopping that a config can build and a checkpoint can save."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping


class EarlyStop:
    """End training if the validation loss does not improve for a number of validations.

    Ignite's handler needs the trainer when it is built. In a config the trainer names its handlers, so that would be
    circular. This class builds Ignite's handler when it is attached. It counts validations, not epochs: between two
    validations there is no new loss.

    Args:
        patience: number of validations without improvement.
        evaluator: validation engine; its ``val_loss`` is compared.
    """

    def __init__(self, patience: int, evaluator: Engine) -> None:
        self.patience, self.evaluator = patience, evaluator
        self._stopping: EarlyStopping | None = None

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator; ``engine`` is the trainer that is stopped."""
        self._stopping = EarlyStopping(self.patience, lambda evaluator: -evaluator.state.metrics["val_loss"], engine)
        self.evaluator.add_event_handler(Events.COMPLETED, self._stopping)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of validations without improvement so far, and the best score."""
        return dict(self._attached().state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the count of an earlier run, so that a resumed run stops at the same epoch as if uninterrupted."""
        self._attached().load_state_dict(state)

    def _attached(self) -> EarlyStopping:
        if self._stopping is None:
            raise RuntimeError("early stopping has no state before it is attached to a trainer")
        return self._stopping
