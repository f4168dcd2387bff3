"""Mean of the loss over an epoch, as an Ignite metric."""

from __future__ import annotations

from ignite.metrics import Average


class MeanLoss(Average):
    """Average ``loss`` over an engine's decollated outputs, with equal weight for each batch."""

    def __init__(self) -> None:
        super().__init__(output_transform=lambda output: float(output[0]["loss"]))
