"""Samplers that shuffle by the epoch's number."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events


class SetEpoch:
    """Tell a sampler the number of the epoch, so that a resumed run shuffles as an uninterrupted one.

    Args:
        sampler: with ``set_epoch``.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, whose loader asks for its order after this event."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda trainer: self.sampler.set_epoch(trainer.state.epoch))
