"""Fine-tuning of the encoder with gate and head: a MONAI trainer for each fold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.handlers import ProgressBar
from ignite.metrics import EpochMetric
from monai.engines import PrepareBatch, SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.handlers import LrScheduleHandler, MLFlowHandler, ValidationHandler
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.best_epoch import BestEpoch, Score
from hmgdm_monai.losses.class_weights import class_weights
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
from hmgdm_monai.saving.classifier_file import build_classifier
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.tiles.data import ClassificationData
from hmgdm_monai.tasks.tiles.methods import FittedFold

EXPERIMENT = "hmgdm_classification"
SCORES: dict[str, Score] = {
    "balanced_accuracy": lambda metrics: (metrics["val_balanced_accuracy"], -metrics["val_loss"]),
    "loss": lambda metrics: (-metrics["val_loss"],),
}


class FineTuning:
    """Encoder, gate and head trained by class-weighted cross-entropy; the validation side chooses the epoch.

    Same seed, same numbers: whatever a fold draws comes from (seed, number of the fold), so that it does not matter
    which folds were trained before, in this process or in another.

    The epoch is chosen by balanced accuracy, as the other modes choose their settings, and among equals by the loss.
    The loss alone is the other choice: with noisy labels it can rise from the first epochs on, by a few confident
    errors, while more and more tiles are told right. It is weighted like the training loss.

    Args:
        output_dir: where MLflow's database is.
        max_epochs: most epochs of a fold.
        choose_by: "balanced_accuracy" or "loss", of the validation side.
        patience: epochs without a better one after which a fold ends.
        batch_size: tiles a step.
        learning_rate: of gate and head; cosine decay over ``max_epochs``.
        encoder_learning_rate: of the pretrained encoder; 0 freezes it.
        weight_decay: of AdamW.
        hidden: width of gate and head; the encoder's where None.
        dropout: in the head.
        max_grad_norm: gradients are clipped to this norm.
        seed: of weights, order and dropout.
        device: where to train.
        amp: mixed precision; on a CUDA device alone.
        num_workers: processes that read samples.
    """

    mode = "finetune"

    def __init__(
        self,
        output_dir: Path | str,
        max_epochs: int = 40,
        choose_by: str = "balanced_accuracy",
        patience: int = 10,
        batch_size: int = 16,
        learning_rate: float = 1e-3,
        encoder_learning_rate: float = 3e-4,
        weight_decay: float = 1e-2,
        hidden: int | None = None,
        dropout: float = 0.2,
        max_grad_norm: float = 10.0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        amp: bool = False,
        num_workers: int = 0,
    ) -> None:
        for name, value in (("max_epochs", max_epochs), ("patience", patience), ("batch_size", batch_size)):
            if value < 1:
                raise InputError(f"finetune: {name} must be at least 1, not {value}")
        if choose_by not in SCORES:
            raise InputError(f"finetune: choose_by must be one of {', '.join(SCORES)}, not {choose_by!r}")
        self.choose_by = choose_by
        self.output_dir, self.max_epochs, self.patience = Path(output_dir), max_epochs, patience
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.encoder_learning_rate, self.weight_decay = encoder_learning_rate, weight_decay
        self.hidden, self.dropout, self.max_grad_norm = hidden, dropout, max_grad_norm
        self.seed, self.device, self.amp, self.num_workers = seed, torch.device(device), amp, num_workers

    def fit(self, data: ClassificationData, fold: Fold) -> FittedFold:
        """Train one fold, with progress on stderr and curves in MLflow; the network has its best epoch's weights."""
        torch.manual_seed(self.seed * 1_000_003 + fold.number)
        settings = {"num_classes": len(data.classes), "hidden": self.hidden, "dropout": self.dropout}
        network = build_classifier(data.pretrained.encoder, self.mode, settings).to(self.device)
        weights = class_weights(data.labels[fold.train], len(data.classes))
        evaluator = self._evaluator(data, fold, network, weights)
        best = BestEpoch(network, evaluator, SCORES[self.choose_by], self.patience)
        self._trainer(data, fold, network, weights, evaluator, best).run()
        at_best = best.restore()
        chosen = {name: at_best[name] for name in ("epoch", "val_balanced_accuracy", "val_loss")}
        return FittedFold(network.cpu().eval(), settings, chosen, best.history)

    def _evaluator(
        self, data: ClassificationData, fold: Fold, network: GatedTileClassifier, weights: Tensor
    ) -> SupervisedEvaluator:
        loss = nn.CrossEntropyLoss(weights)
        return SupervisedEvaluator(
            device=self.device,
            val_data_loader=DataLoader(data.labelled(fold.val), self.batch_size, num_workers=self.num_workers),
            network=network,
            prepare_batch=PrepareLabelledSamples(),
            decollate=False,
            amp=self.amp,
            key_val_metric={"val_loss": _over_epoch(lambda logits, labels: float(loss(logits.float(), labels)))},
            additional_metrics={"val_balanced_accuracy": _over_epoch(_balanced_accuracy)},
            metric_cmp_fn=lambda new, best: new < best,
            val_handlers=[self._mlflow(fold, close=False)],
        )

    def _trainer(
        self,
        data: ClassificationData,
        fold: Fold,
        network: GatedTileClassifier,
        weights: Tensor,
        evaluator: SupervisedEvaluator,
        best: BestEpoch,
    ) -> SupervisedTrainer:
        encoder_parameters = network.encoder.trainable_parameters()
        for parameter in encoder_parameters:
            parameter.requires_grad_(self.encoder_learning_rate > 0)
        optimizer = torch.optim.AdamW(
            [
                {"params": network.head_parameters(), "lr": self.learning_rate},
                {"params": encoder_parameters, "lr": self.encoder_learning_rate},
            ],
            weight_decay=self.weight_decay,
        )
        order = torch.Generator().manual_seed(self.seed * 1_000_003 + fold.number)
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=self.max_epochs,
            train_data_loader=DataLoader(
                data.labelled(fold.train), self.batch_size, shuffle=True, generator=order, num_workers=self.num_workers
            ),
            network=network,
            optimizer=optimizer,
            loss_function=nn.CrossEntropyLoss(weights.to(self.device)),
            prepare_batch=PrepareLabelledSamples(),
            decollate=False,
            amp=self.amp,
            key_train_metric={
                "train_loss": _over_epoch(lambda logits, labels: _weighted_loss(logits, labels, weights))
            },
            metric_cmp_fn=lambda new, best: new < best,
            train_handlers=[
                ValidationHandler(interval=1, validator=evaluator),
                LrScheduleHandler(
                    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.max_epochs), print_lr=False
                ),
                best,
                self._mlflow(fold, close=True),
                ProgressBar(desc=f"fold {fold.number}"),
            ],
        )
        trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._check_and_clip)
        return trainer

    def _check_and_clip(self, engine: Engine) -> None:
        loss = engine.state.output["loss"].item()
        if not math.isfinite(loss):
            raise InputError(
                f"finetune: the loss became {loss} in epoch {engine.state.epoch}; lower learning_rate and "
                "encoder_learning_rate, or switch mixed precision off"
            )
        if getattr(engine, "scaler", None) is not None:
            engine.scaler.unscale_(engine.optimizer)
        nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_grad_norm)

    def _mlflow(self, fold: Fold, close: bool) -> MLFlowHandler:
        return MLFlowHandler(
            tracking_uri=f"sqlite:///{self.output_dir / 'mlruns.db'}",
            artifact_location=str((self.output_dir / "mlflow_artifacts").absolute()),
            experiment_name=EXPERIMENT,
            run_name=f"fold_{fold.number}",
            iteration_log=False,
            close_on_complete=close,
        )


class PrepareLabelledSamples(PrepareBatch):
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


def _over_epoch(compute: Any) -> EpochMetric:
    """``compute(logits (N, K), labels (N,))`` over all tiles of an epoch."""
    return EpochMetric(
        compute, output_transform=lambda output: (output["pred"].float(), output["label"]), check_compute_fn=False
    )


def _weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> float:
    return float(nn.functional.cross_entropy(logits, labels, weights))


def _balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    there = np.unique(labels.numpy())
    predicted = logits.argmax(1).numpy()
    return float(np.mean([(predicted[labels.numpy() == k] == k).mean() for k in there]))
