"""Keep the weights of the best epoch in memory and the metrics of all epochs; stop when no epoch improves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ignite.engine import Engine, Events
from torch import Tensor, nn

Score = Callable[[Mapping[str, float]], tuple[float, ...]]


class BestEpoch:
    """Keep the weights with the best validation score.

    Attach it to a trainer that validates every epoch, after the validation handler.

    Args:
        network: network whose weights are kept.
        evaluator: validation engine; its ``state.metrics`` are scored.
        score: turns metrics into numbers that are compared one after the other; higher is better. If two epochs have
            the same score, the earlier one is kept.
        patience: training ends after this many epochs without improvement.

    Attributes:
        epoch: best epoch so far; 0 before the first epoch.
        history: one dictionary per epoch: ``epoch``, training ``loss``, and the metrics of the evaluator by name.
    """

    def __init__(self, network: nn.Module, evaluator: Engine, score: Score, patience: int) -> None:
        self.network, self.evaluator, self.score, self.patience = network, evaluator, score, patience
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self._best: tuple[float, ...] = ()
        self._weights: dict[str, Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, after validation."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._look)

    def restore(self) -> dict[str, float]:
        """Load the best weights into the network, and return the metrics of that epoch."""
        self.network.load_state_dict(self._weights)
        return self.history[self.epoch - 1]

    def _look(self, engine: Engine) -> None:
        metrics = {name: float(value) for name, value in self.evaluator.state.metrics.items()}
        training = {"loss": float(engine.state.metrics["train_loss"])} if "train_loss" in engine.state.metrics else {}
        self.history.append({"epoch": engine.state.epoch, **training, **metrics})
        score = self.score(metrics)
        if not self.epoch or score > self._best:
            self.epoch, self._best = engine.state.epoch, score
            self._weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        elif engine.state.epoch - self.epoch >= self.patience:
            engine.terminate()
