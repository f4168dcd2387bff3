"""A progress bar over epochs, for trainings with short epochs."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar


class EpochBar:
    """One progress bar for all epochs of a training.

    Args:
        desc: text before the bar.
    """

    def __init__(self, desc: str) -> None:
        self.bar = ProgressBar(desc=desc)

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        self.bar.attach(engine, event_name=Events.EPOCH_COMPLETED, closing_event_name=Events.COMPLETED)
