"""Fine-tuning of the encoder with gate and head, fold by fold, by the training of the config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from torch import Tensor
from torch_geometric.data import Data

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.fold_config import FoldConfig
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.tiles.data import ClassificationData
from hmgdm_monai.tasks.tiles.methods import FittedFold

SCORES: dict[str, Callable[[Mapping[str, float]], tuple[float, ...]]] = {
    "balanced_accuracy": lambda metrics: (metrics["val_balanced_accuracy"], -metrics["val_loss"]),
    "loss": lambda metrics: (-metrics["val_loss"],),
}


def validation_score(choose_by: str = "balanced_accuracy") -> Callable[[Mapping[str, float]], tuple[float, ...]]:
    """What an epoch is chosen by, higher is better.

    Balanced accuracy is what the other modes choose their settings by; among equals the loss decides. The loss alone is
    the other choice: with noisy labels it can rise from the first epochs on, by a few confident errors, while more and
    more tiles are told right.

    Args:
        choose_by: "balanced_accuracy" or "loss", of the validation side.

    Raises:
        InputError: another name.
    """
    if choose_by not in SCORES:
        raise InputError(f"choose_by must be one of {', '.join(SCORES)}, not {choose_by!r}")
    return SCORES[choose_by]


class FineTuning:
    """Encoder, gate and head, trained as the config says; the validation side chooses the epoch.

    Same seed, same numbers: whatever a fold draws comes from its own seed, so that it does not matter which folds were
    trained before, in this process or in another.

    Args:
        config: of the training; its parts ``fold_seed``, ``network``, ``best`` and ``train#trainer`` are used.
    """

    mode = "finetune"

    def __init__(self, config: FoldConfig) -> None:
        self.config = config

    def fit(self, data: ClassificationData, fold: Fold) -> FittedFold:
        """Train one fold, with progress on stderr and curves in MLflow; the network has its best epoch's weights.

        Args:
            data: labeled tiles.
            fold: their sides.

        Raises:
            InputError: there is no epoch to train, or the loss becomes no number.
        """
        get = self.config.parts(fold=fold).get_parsed_content
        torch.manual_seed(get("fold_seed"))
        network = get("network")
        trainer, best = get("train#trainer"), get("best")
        if trainer.state.max_epochs < 1:
            raise InputError(f"finetune: max_epochs must be at least 1, not {trainer.state.max_epochs}")
        trainer.run()
        at_best = best.restore()
        chosen = {name: at_best[name] for name in ("epoch", "val_balanced_accuracy", "val_loss")}
        return FittedFold(network.cpu().eval(), network.settings, chosen, best.history)


class PrepareLabeledSamples(PrepareBatch):
    """A PyG batch as MONAI's engines want it: input and target.

    Their outputs must not be decollated: MONAI takes a PyG batch for a mapping and cuts it up wrongly.
    """

    def __call__(
        self,
        batchdata: Data,
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Data, Tensor]:
        """The batch on its device, and its labels (B,)."""
        batch = batchdata.to(device, non_blocking=non_blocking)
        return batch, batch.y
