"""Early stopping that a config can name and a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping


class EarlyStop:
    """End training once the validation loss has not improved for a number of validations.

    Ignite's handler wants the trainer when it is built, which in a config, where the trainer names its handlers, is
    circular. This one builds it when it is attached. It counts validations, not epochs: between two of them there is
    no new loss.

    Args:
        patience: validations without improvement.
        evaluator: whose ``val_loss`` counts.
    """

    def __init__(self, patience: int, evaluator: Engine) -> None:
        self.patience, self.evaluator = patience, evaluator
        self._stopping: EarlyStopping | None = None

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator; ``engine`` is the trainer that is to end."""
        self._stopping = EarlyStopping(self.patience, lambda evaluator: -evaluator.state.metrics["val_loss"], engine)
        self.evaluator.add_event_handler(Events.COMPLETED, self._stopping)

    def state_dict(self) -> dict[str, Any]:
        """Validations without improvement so far, and the best score."""
        return dict(self._attached().state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the count of an earlier run, so that a resumed run stops where an uninterrupted one would have."""
        self._attached().load_state_dict(state)

    def _attached(self) -> EarlyStopping:
        if self._stopping is None:
            raise RuntimeError("early stopping has no state before it is attached to a trainer")
        return self._stopping
