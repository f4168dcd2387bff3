"""Training an aggregator on one fold of patients."""

from __future__ import annotations

import logging

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor
from torch.utils.data import Subset
from torch_geometric.loader import DataLoader

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.saving.survival_file import SurvivalModel, breslow_baseline
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.patients.bags import PatientBags

EPOCH_SELECTIONS = ("fixed", "validation")
_TILES_TO_FIT = 256  # of each patient, for the standardizer


def training_side(fold: Fold, epoch_selection: str = "fixed") -> np.ndarray:
    """Places of the patients that a fold trains on.

    Args:
        fold: of the cross-validation.
        epoch_selection: "fixed" trains on all but the test patients, for all epochs; "validation" sets the inner
            validation patients apart, and keeps the epoch of their lowest loss.

    Raises:
        InputError: another word.
    """
    if epoch_selection not in EPOCH_SELECTIONS:
        raise InputError(f"epoch_selection must be 'fixed' or 'validation', not {epoch_selection!r}")
    return np.asarray(fold.train, int) if epoch_selection == "validation" else fold.development


def train_fold(parts: ConfigParser, bags: PatientBags) -> SurvivalModel:
    """Train on a fold's training side; nothing of its test patients is read.

    The standardizer, the cuts of discrete time, the baseline hazard and the median risk come from that side too. With
    inner validation the epoch of its lowest loss is kept.

    Args:
        parts: of the config for this fold: ``fold``, ``fold_side`` (places of the patients that are trained on),
            ``fold_seed``, ``loss``, ``network``, ``train#trainer`` and ``checkpoint``.
        bags: of all patients.

    Returns:
        The model, in evaluation mode; ``about`` holds ``epoch`` (whose weights these are) and ``history``.

    Raises:
        InputError: no events to train or validate on, or settings that do not fit.
    """
    get = parts.get_parsed_content
    fold, side, seed = get("fold"), get("fold_side"), get("fold_seed")
    by_validation = len(side) < len(fold.development)
    if by_validation and not bags.events[np.asarray(fold.val, int)].any():
        raise InputError(
            f"no events among the {len(fold.val)} patients of the inner validation; use epoch_selection 'fixed', "
            "or fewer folds"
        )
    loss = get("loss")
    torch.manual_seed(seed)
    network = get("network")
    if network.uses_graph and bags.graph is None:
        raise InputError("this aggregator needs a tile graph; set spatial_k or feature_k above 0")
    network.standardizer.fit(_sample_tiles(bags, side, seed).to(next(network.parameters()).device))
    trainer, checkpoint = get("train#trainer"), get("checkpoint")
    for engine in (trainer, *([get("validate#evaluator")] if by_validation else [])):
        engine.logger.setLevel(logging.WARNING)  # the bar says enough of short epochs
    checkpoint.attach(trainer)
    if checkpoint.resume(trainer) < trainer.state.max_epochs:
        trainer.run()
    epoch = trainer.state.max_epochs
    if by_validation:
        network.load_state_dict(checkpoint.best["weights"])
        epoch = checkpoint.best["epoch"]

    model = SurvivalModel(
        network=network.eval(),
        loss=loss,
        settings={"aggregator": network.settings, "loss": loss.settings},
        median_risk=0.0,
        baseline_times=torch.zeros(0, dtype=torch.float64),
        baseline_log_hazard=torch.zeros(0, dtype=torch.float64),
        about={"epoch": epoch, "history": checkpoint.history},
    )
    development = fold.development
    risk = loss.risk(predict(model, bags, development)).double().cpu().numpy()
    model.median_risk = float(np.median(risk))
    if isinstance(loss, CoxLoss):
        found = breslow_baseline(risk, bags.times[development], bags.events[development])
        model.baseline_times, model.baseline_log_hazard = found
    return model


def predict(model: SurvivalModel, bags: PatientBags, places: np.ndarray, batch_size: int = 8) -> Tensor:
    """Outputs (P, K) for some patients, on the device of the network."""
    device = next(model.network.parameters()).device
    loader = DataLoader(Subset(bags, np.asarray(places).tolist()), batch_size=batch_size)
    model.network.eval()
    with torch.inference_mode():
        return torch.cat([model.network(batch.to(device)) for batch in loader]).clone()


def _sample_tiles(bags: PatientBags, places: np.ndarray, seed: int) -> Tensor:
    """Up to ``_TILES_TO_FIT`` tiles of each patient."""
    generator = torch.Generator().manual_seed(seed)
    tiles = []
    for place in places:
        features = bags[int(place)].x
        tiles.append(features[torch.randperm(len(features), generator=generator)[:_TILES_TO_FIT]])
    return torch.cat(tiles)
