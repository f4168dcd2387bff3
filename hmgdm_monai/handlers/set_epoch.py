"""Set the epoch of samplers that shuffle by epoch number."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events


class SetEpoch:
    """Pass the epoch number to a sampler, so that a resumed run shuffles like an uninterrupted run.

    Args:
        sampler: a sampler with ``set_epoch``.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def attach(self, engine: Engine) -> None:
        """Register on the trainer; its data loader asks for the order after this event."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda trainer: self.sampler.set_epoch(trainer.state.epoch))
