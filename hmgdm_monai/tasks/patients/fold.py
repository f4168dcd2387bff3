"""Train an aggregator on one fold of patients."""

from __future__ import annotations

import logging

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor
from torch.utils.data import Subset
from torch_geometric.loader import DataLoader

from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.patient_file import PatientModel
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.patients.bags import PatientBags
from hmgdm_monai.tasks.patients.targets.target import Target

EPOCH_SELECTIONS = ("fixed", "validation")
_TILES_TO_FIT = 256  # tiles per patient that the standardizer is fitted to


def training_side(fold: Fold, epoch_selection: str = "fixed") -> np.ndarray:
    """Return the indices of the patients that a fold trains on.

    Args:
        fold: fold of the cross-validation.
        epoch_selection: "fixed" trains on all patients outside the test split, for all epochs. "validation" holds out
            the inner validation patients and keeps the epoch with their lowest loss.

    Raises:
        InputError: ``epoch_selection`` has another value.
    """
    if epoch_selection not in EPOCH_SELECTIONS:
        raise InputError(f"epoch_selection must be 'fixed' or 'validation', not {epoch_selection!r}")
    return np.asarray(fold.train, int) if epoch_selection == "validation" else fold.development


def train_fold(parts: ConfigParser, bags: PatientBags) -> PatientModel:
    """Train on the training side of a fold; the test patients are not read.

    The standardizer and the loss (class weights, mean and deviation of a number, cuts of discrete time) are also fitted
    on this side. What predictions need beside the network, for example a baseline hazard, comes from all patients
    outside the test split. With inner validation, the epoch with its lowest loss is kept.

    Args:
        parts: config of this fold: ``fold``, ``fold_side`` (indices of the patients to train on), ``fold_seed``,
            ``target``, ``loss``, ``network``, ``train#trainer`` and ``checkpoint``.
        bags: bags of all patients.

    Returns:
        The model, in evaluation mode; ``about`` contains ``epoch`` (of its weights) and ``history``.

    Raises:
        InputError: there are no outcomes to train or validate on, or the settings do not fit the data.
    """
    get = parts.get_parsed_content
    fold, side, seed = get("fold"), get("fold_side"), get("fold_seed")
    target: Target = get("target")
    values = bags.values(target.name, target.size)
    by_validation = len(side) < len(fold.development)
    if by_validation:
        advice = "inner validation patients (epoch_selection 'fixed' needs none)"
        target.check_side(values[np.asarray(fold.val, int)], f"fold {fold.number}, {advice}")
    loss = get("loss")
    torch.manual_seed(seed)
    network = get("network")
    if network.uses_graph and bags.graph is None:
        raise InputError("this aggregator needs a tile graph; set spatial_k or feature_k above 0")
    network.standardizer.fit(_sample_tiles(bags, side, seed).to(next(network.parameters()).device))
    trainer, checkpoint = get("train#trainer"), get("checkpoint")
    for engine in (trainer, *([get("validate#evaluator")] if by_validation else [])):
        engine.logger.setLevel(logging.WARNING)  # the progress bar is enough for short epochs
    checkpoint.attach(trainer)
    if checkpoint.resume(trainer) < trainer.state.max_epochs:
        trainer.run()
    epoch = trainer.state.max_epochs
    if by_validation:
        network.load_state_dict(checkpoint.best["weights"])
        epoch = checkpoint.best["epoch"]

    model = PatientModel(
        network=network.eval(),
        loss=loss,
        settings={"aggregator": network.settings, "loss": loss.settings},
        target=target.settings,
        about={"epoch": epoch, "history": checkpoint.history},
    )
    development = fold.development
    model.fitted = target.fit(loss, predict(model, bags, development), values[development])
    if by_validation:
        val = np.asarray(fold.val, int)
        found = target.predict(loss, predict(model, bags, val), model.fitted)
        model.fitted |= target.fit_validation(found, values[val])
    return model


def predict(model: PatientModel, bags: PatientBags, places: np.ndarray, batch_size: int = 8) -> Tensor:
    """Return outputs (P, K) for some patients, on the device of the network.

    Args:
        model: trained model.
        bags: bags of all patients.
        places: (P,) indices of the patients.
        batch_size: number of patients per batch.
    """
    device = next(model.network.parameters()).device
    loader = DataLoader(Subset(bags, np.asarray(places).tolist()), batch_size=batch_size)
    model.network.eval()
    with torch.inference_mode():
        return torch.cat([model.network(batch.to(device)) for batch in loader]).clone()


def _sample_tiles(bags: PatientBags, places: np.ndarray, seed: int) -> Tensor:
    """Return up to ``_TILES_TO_FIT`` tiles of each patient."""
    generator = torch.Generator().manual_seed(seed)
    tiles = []
    for place in places:
        features = bags[int(place)].x
        tiles.append(features[torch.randperm(len(features), generator=generator)[:_TILES_TO_FIT]])
    return torch.cat(tiles)
