"""Keep the weights of the best epoch in memory, with the history of all epochs; stop when none gets better."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ignite.engine import Engine, Events
from torch import Tensor, nn

Score = Callable[[Mapping[str, float]], tuple[float, ...]]


class BestEpoch:
    """Remember the weights that score best in validation. Attach to a trainer that validates every epoch, after it.

    Args:
        network: whose weights.
        evaluator: its ``state.metrics`` are scored.
        score: metrics -> numbers to compare one after the other, higher is better; the earlier epoch wins a draw.
        patience: epochs without a better one after which training ends.

    Attributes:
        epoch: the best so far, 0 before the first.
        history: metrics of trainer and evaluator of each epoch, by name, with ``epoch`` and ``loss`` (training).
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
        """Put the best weights into the network; the metrics of their epoch."""
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
