"""Training an aggregator on one fold of patients."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from ignite.handlers import ProgressBar
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import Tensor, nn
from torch.utils.data import Subset
from torch_geometric.loader import DataLoader

from hmgdm_monai.engines.survival_iteration import SurvivalIteration
from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
from hmgdm_monai.losses.discrete_nll import fit_cuts
from hmgdm_monai.metrics.survival import ConcordanceIndex, EpochLoss
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.saving.survival_file import SurvivalModel, breslow_baseline, build_loss
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.patients.bags import EventBatches, PatientBags

_TILES_TO_FIT = 256  # of each patient, for the standardizer


@dataclass(frozen=True)
class SurvivalTraining:
    """How an aggregator is trained; the published recipe is Adam 1e-4, weight decay 5e-4, 16 patients, 100 epochs.

    Attributes:
        aggregator: "mean", "amil", "patch_gcn" or "deep_graph_conv". aggregator_settings: its own.
        loss: "cox" or "discrete". ties: of Cox, "efron" or "breslow". num_intervals: of discrete time.
        max_epochs: of training.
        epoch_selection: "fixed" trains on all but the test patients for ``max_epochs``; "validation" sets the inner
            validation patients apart and keeps the epoch of their lowest loss.
        batch_size: patients a step. learning_rate, weight_decay: of Adam. lr_halved_every: epochs.
        max_grad_norm: gradients are clipped to it.
    """

    aggregator: str = "amil"
    aggregator_settings: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "cox"
    ties: str = "efron"
    num_intervals: int = 4
    max_epochs: int = 50
    epoch_selection: str = "fixed"
    batch_size: int = 32
    learning_rate: float = 2e-4
    weight_decay: float = 5e-4
    lr_halved_every: int = 40
    max_grad_norm: float | None = 10.0

    def __post_init__(self) -> None:
        if self.epoch_selection not in ("fixed", "validation"):
            raise InputError(f"epoch_selection must be 'fixed' or 'validation', not {self.epoch_selection!r}")
        if self.max_epochs < 1 or self.batch_size < 2:
            raise InputError(
                f"max_epochs must be at least 1 and batch_size at least 2, not {self.max_epochs} and {self.batch_size}"
            )


def development_side(fold: Fold) -> np.ndarray:
    """Patients of a fold that are not tested: training and inner validation."""
    return np.sort(np.concatenate((np.asarray(fold.train, int), np.asarray(fold.val, int).reshape(-1))))


def train_fold(
    bags: PatientBags,
    fold: Fold,
    training: SurvivalTraining,
    checkpoint: Path | str,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: str | None = None,
) -> SurvivalModel:
    """Train on a fold's training side; nothing of its test patients is read.

    The standardizer, the cuts of discrete time, the baseline hazard and the median risk come from that side too.

    Args:
        bags: of all patients.
        fold: indices into them.
        training: how.
        checkpoint: file to save each epoch to, and to go on from where it is there.
        seed: of weights, order and dropout.
        device: of the network.
        progress: what the bar over epochs says; None for no bar.

    Returns:
        The model, in evaluation mode; ``about`` holds ``epoch`` (whose weights these are) and ``history``.

    Raises:
        InputError: no events to train or validate on, or settings that do not fit.
    """
    by_validation = training.epoch_selection == "validation"
    train = np.asarray(fold.train, int) if by_validation else development_side(fold)
    time, event = bags.times, bags.events
    loss_settings: dict[str, Any] = {"name": training.loss, "ties": training.ties}
    if training.loss == "discrete":
        loss_settings = {"name": "discrete", "cuts": fit_cuts(time[train], event[train], training.num_intervals)}
    loss = build_loss(loss_settings).to(device)
    torch.manual_seed(seed)
    chosen = {
        "name": training.aggregator,
        "in_channels": bags.num_features,
        "settings": dict(training.aggregator_settings),
    }
    network = build_aggregator(chosen["name"], bags.num_features, loss.num_outputs, **chosen["settings"]).to(device)
    if network.uses_graph and bags.graph is None:
        raise InputError(f"aggregator {training.aggregator!r} needs a tile graph; set spatial_k or feature_k above 0")
    network.standardizer.fit(_sample_tiles(bags, train, seed).to(device))

    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, training.lr_halved_every, 0.5)
    iteration = SurvivalIteration(loss, seed, training.max_grad_norm)
    evaluator = _evaluator(bags, fold, training, network, iteration, device) if by_validation else None
    stage = StageCheckpoint(
        checkpoint,
        {"network": network, "optimizer": optimizer, "schedule": schedule},
        evaluator=evaluator,
        log_epochs=False,  # 50 short epochs in each fold: the bar says enough
    )
    trainer = _trainer(bags, train, training, network, optimizer, schedule, iteration, evaluator, seed, device)
    stage.attach(trainer)
    if progress is not None:
        bar = ProgressBar(desc=progress)
        bar.attach(trainer, event_name=Events.EPOCH_COMPLETED, closing_event_name=Events.COMPLETED)
    if stage.resume(trainer) < training.max_epochs:
        trainer.run()
    epoch = training.max_epochs
    if by_validation:
        network.load_state_dict(stage.best["weights"])
        epoch = stage.best["epoch"]

    network.eval()
    development = development_side(fold)
    model = SurvivalModel(
        network=network,
        loss=loss,
        settings={"aggregator": chosen, "loss": loss_settings},
        median_risk=0.0,
        baseline_times=torch.zeros(0, dtype=torch.float64),
        baseline_log_hazard=torch.zeros(0, dtype=torch.float64),
        about={"epoch": epoch, "history": stage.history, "training": asdict(training)},
    )
    risk = loss.risk(predict(model, bags, development)).double().cpu().numpy()
    model.median_risk = float(np.median(risk))
    if training.loss == "cox":
        found = breslow_baseline(risk, time[development], event[development])
        model.baseline_times, model.baseline_log_hazard = found
    return model


def predict(model: SurvivalModel, bags: PatientBags, places: np.ndarray, batch_size: int = 8) -> Tensor:
    """Outputs (P, K) for some patients, on the device of the network."""
    device = next(model.network.parameters()).device
    loader = DataLoader(Subset(bags, np.asarray(places).tolist()), batch_size=batch_size)
    model.network.eval()
    with torch.inference_mode():
        return torch.cat([model.network(batch.to(device)) for batch in loader]).clone()


def _trainer(
    bags: PatientBags,
    train: np.ndarray,
    training: SurvivalTraining,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    iteration: SurvivalIteration,
    evaluator: SupervisedEvaluator | None,
    seed: int,
    device: torch.device | str,
) -> SupervisedTrainer:
    sampler = EventBatches(bags.events[train], training.batch_size, seed)
    handlers: list[Any] = [LrScheduleHandler(schedule, print_lr=False)]
    if evaluator is not None:
        handlers.insert(0, ValidationHandler(interval=1, validator=evaluator))
    trainer = SupervisedTrainer(
        device=torch.device(device),
        max_epochs=training.max_epochs,
        train_data_loader=DataLoader(Subset(bags, train.tolist()), batch_sampler=sampler),
        network=network,
        optimizer=optimizer,
        loss_function=iteration.loss,
        iteration_update=iteration,
        train_handlers=handlers,
        decollate=False,
    )
    # The loader asks for its order after this event.
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: sampler.set_epoch(engine.state.epoch))
    trainer.logger.setLevel(logging.WARNING)
    return trainer


def _evaluator(
    bags: PatientBags,
    fold: Fold,
    training: SurvivalTraining,
    network: nn.Module,
    iteration: SurvivalIteration,
    device: torch.device | str,
) -> SupervisedEvaluator:
    val = np.asarray(fold.val, int).reshape(-1)
    if bags.events[val].sum() == 0:
        raise InputError(
            f"no events among the {len(val)} patients of the inner validation; use epoch_selection 'fixed', "
            "or fewer folds"
        )
    evaluator = SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(Subset(bags, val.tolist()), batch_size=training.batch_size),
        network=network,
        iteration_update=iteration.validate,
        key_val_metric={"val_loss": EpochLoss(iteration.loss)},
        additional_metrics={"val_c_index": ConcordanceIndex(iteration.loss)},
        metric_cmp_fn=lambda new, best: new < best,
        decollate=False,
    )
    evaluator.logger.setLevel(logging.WARNING)
    return evaluator


def _sample_tiles(bags: PatientBags, places: np.ndarray, seed: int) -> Tensor:
    """Up to ``_TILES_TO_FIT`` tiles of each patient."""
    generator = torch.Generator().manual_seed(seed)
    tiles = []
    for place in places:
        features = bags[int(place)].x
        tiles.append(features[torch.randperm(len(features), generator=generator)[:_TILES_TO_FIT]])
    return torch.cat(tiles)
