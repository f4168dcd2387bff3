"""Loss and balanced accuracy over all tiles of an epoch, as Ignite metrics."""

from __future__ import annotations

import copy
from typing import Any

import torch
from ignite.metrics import EpochMetric
from torch import Tensor, nn

from hmgdm_monai.metrics.class_scores import balanced_accuracy


class EpochLossOfClasses(EpochMetric):
    """A loss computed on all tiles of an epoch at once; a mean over batches would overweight a smaller last batch.

    Args:
        loss: function of logits (N, K) and labels (N,).
    """

    def __init__(self, loss: nn.Module) -> None:
        on_cpu = copy.deepcopy(loss).cpu()
        super().__init__(
            lambda logits, labels: float(on_cpu(logits, labels)), output_transform=_outputs, check_compute_fn=False
        )


class EpochBalancedAccuracy(EpochMetric):
    """Mean recall over the classes that are present."""

    def __init__(self) -> None:
        super().__init__(_balanced_accuracy, output_transform=_outputs, check_compute_fn=False)


def _outputs(output: dict[str, Any]) -> tuple[Tensor, Tensor]:
    return output["pred"].float(), output["label"]


def _balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    return balanced_accuracy(labels.numpy(), torch.argmax(logits, 1).numpy())
