from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from hmgdm_monai.handlers.best_epoch import BestEpoch


def trained(accuracies: list[float], losses: list[float], patience: int) -> tuple[BestEpoch, nn.Linear, int]:
    """Best epoch of a training whose weight is the number of the epoch, and the epochs that were run."""
    network, evaluator, trainer = nn.Linear(1, 1), Engine(lambda *_: None), Engine(lambda *_: None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        nn.init.constant_(network.weight, engine.state.epoch)
        evaluator.state.metrics = {"right": accuracies[engine.state.epoch - 1], "loss": losses[engine.state.epoch - 1]}

    best = BestEpoch(network, evaluator, lambda metrics: (metrics["right"], -metrics["loss"]), patience)
    best.attach(trainer)
    trainer.run([0], max_epochs=len(losses))
    return best, network, trainer.state.epoch


@pytest.mark.parametrize(
    ("accuracies", "losses", "epoch"),
    [
        ([0.1, 0.5, 0.4], [3.0, 2.0, 1.0], 2),
        ([0.5, 0.5, 0.5], [3.0, 1.0, 2.0], 2),  # a draw is broken by what comes next
        ([0.5, 0.5, 0.5], [1.0, 1.0, 1.0], 1),
        ([0.0, 0.0, 0.0], [9.0, 8.0, 7.0], 3),
    ],
)
def test_weights_of_the_best_epoch_come_back(accuracies, losses, epoch):
    best, network, _ = trained(accuracies, losses, patience=9)
    assert network.weight.item() == 3.0
    assert best.restore() == {"epoch": epoch, "right": accuracies[epoch - 1], "loss": losses[epoch - 1]}
    assert best.epoch == epoch and torch.equal(network.weight, torch.full((1, 1), float(epoch)))
    assert [record["loss"] for record in best.history] == losses


def test_ends_after_so_many_epochs_without_a_better_one():
    assert trained([0.3, 0.2, 0.4, 0.1, 0.1, 0.1, 0.9], [1.0] * 7, patience=2)[2] == 5
    assert trained([0.3, 0.2, 0.4, 0.1, 0.1, 0.1, 0.9], [1.0] * 7, patience=4)[2] == 7
