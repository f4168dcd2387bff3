"""Fine-tune the encoder with gate and head, fold by fold, with the training of the config."""

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
    """Return the function that scores an epoch from its validation metrics; higher is better.

    "balanced_accuracy" is also what the other modes choose their settings by; if two epochs are equal, the loss
    decides. With "loss", noisy labels can be a problem: a few confident errors can raise the loss from the first epochs
    on, while more and more tiles are classified correctly.

    Args:
        choose_by: "balanced_accuracy" or "loss" of the validation split.

    Raises:
        InputError: ``choose_by`` has another value.
    """
    if choose_by not in SCORES:
        raise InputError(f"choose_by must be one of {', '.join(SCORES)}, not {choose_by!r}")
    return SCORES[choose_by]


class FineTuning:
    """Train encoder, gate and head with the training of the config; the validation split chooses the epoch.

    The same seed gives the same numbers: all random numbers of a fold come from the fold's own seed. So it does not
    matter which folds were trained before, in this process or in another.

    Args:
        config: config of the training; its parts ``fold_seed``, ``network``, ``best`` and ``train#trainer`` are used.
    """

    mode = "finetune"

    def __init__(self, config: FoldConfig) -> None:
        self.config = config

    def check(self, fold: Fold) -> None:
        """Build the parts that need no training, so that a wrong setting is reported before any work.

        Args:
            fold: any fold.

        Raises:
            InputError: ``max_epochs`` or ``choose_by`` is invalid.
        """
        get = self.config.parts(fold=fold).get_parsed_content
        for part in ("best::score", "loss", "lr_scheduler"):
            get(part)
        if get("max_epochs") < 1:
            raise InputError(f"finetune: max_epochs must be at least 1, not {get('max_epochs')}")

    def fit(self, data: ClassificationData, fold: Fold) -> FittedFold:
        """Train one fold, with a progress bar on stderr and curves in MLflow, and return the network of the best epoch.

        Args:
            data: labeled tiles.
            fold: splits of the fold.

        Raises:
            InputError: the loss is not finite.
        """
        get = self.config.parts(fold=fold).get_parsed_content
        torch.manual_seed(get("fold_seed"))
        network = get("network")
        trainer, best = get("train#trainer"), get("best")
        trainer.run()
        at_best = best.restore()
        chosen = {name: at_best[name] for name in ("epoch", "val_balanced_accuracy", "val_loss")}
        return FittedFold(network.cpu().eval(), network.settings, chosen, best.history)


class PrepareLabeledSamples(PrepareBatch):
    """Turn a PyG batch into input and target for MONAI's engines.

    The output must not be decollated: MONAI treats a PyG batch as a mapping and splits it wrongly.
    """

    def __call__(
        self,
        batchdata: Data,
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Data, Tensor]:
        """Return the batch on its device, and its labels (B,)."""
        batch = batchdata.to(device, non_blocking=non_blocking)
        return batch, batch.y
