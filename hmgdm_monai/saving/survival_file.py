"""A trained survival model in one file: aggregator, loss, and the values that turn risks into groups and curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL
from hmgdm_monai.losses.survival_loss import build_loss
from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.saving.model_file import build_model, read_model, refused, write_model

CONTENT = "survival model"
ADVICE = "give a fold_*.pt of survival.json"


@dataclass
class SurvivalModel:
    """An aggregator and its loss, trained on one fold.

    Attributes:
        network: aggregator, in evaluation mode.
        loss: turns outputs into risks; higher = earlier death.
        settings: name and settings of aggregator and loss.
        median_risk: median risk of the training patients; a higher risk is "high risk".
        baseline_times: (T,) times of the baseline hazard; empty for a discrete-time model, whose outputs are its curve.
        baseline_log_hazard: (T,) logarithm of the cumulative baseline hazard of the training patients (Breslow); empty
            for a discrete-time model.
        about: further values that the run keeps: fold, patients, graph settings, encoder.
    """

    network: BagAggregator
    loss: CoxLoss | DiscreteTimeNLL
    settings: dict[str, Any]
    median_risk: float
    baseline_times: Tensor
    baseline_log_hazard: Tensor
    about: dict[str, Any]

    def survival(self, output: Tensor, times: np.ndarray) -> np.ndarray:
        """Return the probability (B, T) to live longer than each of ``times``, from outputs (B, K).

        The curve is a step function. For a Cox model it comes from Breslow's baseline. For a discrete-time model it
        falls at the end of each interval, and it is constant within the last interval, which has no end.

        Args:
            output: (B, K) outputs of the network.
            times: (T,) times in the unit of the training data.
        """
        if isinstance(self.loss, DiscreteTimeNLL):
            steps, curve = self.loss.cuts.cpu().numpy(), self.loss.survival(output.detach().double()).cpu().numpy()
            curve = np.concatenate((np.ones((len(curve), 1)), curve[:, : len(steps)]), 1)
            return curve[:, np.searchsorted(steps, times, side="right")]
        log_hazard = np.concatenate(([-np.inf], self.baseline_log_hazard.numpy()))
        place = np.searchsorted(self.baseline_times.numpy(), times, side="right")
        risk = self.loss.risk(output.detach()).double().cpu().numpy()
        return np.exp(-np.exp(np.minimum(risk[:, None] + log_hazard[place][None], 700)))


def breslow_baseline(risk: np.ndarray, time: np.ndarray, event: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return times (T,) and log cumulative baseline hazard (T,), by scikit-survival's Breslow estimator.

    Args:
        risk: (P,) log hazard ratios.
        time: (P,) times.
        event: (P,) 1 = died, 0 = censored.
    """
    from sksurv.linear_model.coxph import BreslowEstimator

    shift = float(np.max(risk))  # exp must not overflow
    found = BreslowEstimator().fit(risk - shift, np.asarray(event).astype(bool), np.asarray(time, float))
    with np.errstate(divide="ignore"):  # the hazard is zero before the first death
        log_hazard = np.log(found.cum_baseline_hazard_.y) - shift
    return torch.from_numpy(np.array(found.cum_baseline_hazard_.x)), torch.from_numpy(log_hazard)


def save_survival_model(path: Path | str, model: SurvivalModel) -> None:
    """Write a model to a file, completely or not at all."""
    about = {
        "settings": model.settings,
        "median_risk": model.median_risk,
        "baseline_times": model.baseline_times.tolist(),
        "baseline_log_hazard": model.baseline_log_hazard.tolist(),
        "about": model.about,
    }
    write_model(path, CONTENT, model.network.state_dict(), about)


def load_survival_model(path: Path | str) -> SurvivalModel:
    """Load a model from a file of :func:`save_survival_model`, on the CPU, in evaluation mode.

    Args:
        path: path of the file.

    Raises:
        InputError: the file is missing, damaged, or of another kind or format.
    """
    description, state = read_model(path, CONTENT, ADVICE)
    with refused(path, ADVICE):
        settings, median_risk, about = description["settings"], description["median_risk"], description["about"]
        loss, chosen = build_loss(settings["loss"]), settings["aggregator"]
        arguments = chosen["name"], chosen["in_channels"], loss.num_outputs
        times = torch.tensor(description["baseline_times"], dtype=torch.float64)
        log_hazard = torch.tensor(description["baseline_log_hazard"], dtype=torch.float64)
    network = build_model(path, lambda: build_aggregator(*arguments, **chosen["settings"]), state, ADVICE)
    return SurvivalModel(network, loss, settings, median_risk, times, log_hazard, about)
