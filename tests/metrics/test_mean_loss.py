"""Mean loss over an epoch, and over that epoch alone."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from hmgdm_monai.metrics.mean_loss import MeanLoss


def test_averages_batches_and_starts_anew() -> None:
    losses = iter([1.0, 3.0, 10.0, 20.0])
    engine = Engine(lambda engine, batch: [{"loss": torch.tensor(next(losses))}] * 2)
    MeanLoss().attach(engine, "val_loss")
    assert engine.run([0, 0]).metrics["val_loss"] == pytest.approx(2.0)
    assert engine.run([0, 0]).metrics["val_loss"] == pytest.approx(15.0)
