"""Negative log likelihood of discrete-time hazards."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.patient_loss import PatientLoss


class DiscreteTimeNLL(PatientLoss):
    """Negative log likelihood of hazards in K time intervals, averaged over patients (Zadeh and Schmid, TPAMI 2021).

    The network outputs K logits. The hazard of interval k is h_k = sigmoid(logit_k), the probability to die in it after
    surviving to its start; S_k = prod_{j <= k} (1 - h_j). A patient who died in interval y contributes
    -log h_y - log S_{y-1}, a patient censored in it -log S_y.

    Unlike the Cox loss, it needs no risk set, so a batch may have any number of patients.

    Args:
        cuts: the K - 1 times between the intervals, ascending; interval k is (cuts[k-1], cuts[k]].

    Raises:
        ValueError: the cuts do not ascend, or (when called) the shapes do not match.
    """

    def __init__(self, cuts: Tensor | list[float]) -> None:
        super().__init__()
        cuts = torch.as_tensor(cuts, dtype=torch.float64).reshape(-1)
        if (cuts.diff() <= 0).any():
            raise ValueError(f"cuts must ascend, not {cuts.tolist()}")
        self.cuts: Tensor
        self.register_buffer("cuts", cuts)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as stored in a model file."""
        return {"name": "discrete", "cuts": self.cuts.tolist()}

    @property
    def num_outputs(self) -> int:
        """Number of intervals K."""
        return len(self.cuts) + 1

    def forward(self, output: Tensor, time: Tensor, event: Tensor) -> Tensor:
        """Compute the loss of B patients from logits (B, K), times (B,) and events (B,), 1 = died, 0 = censored.

        Args:
            output: (B, K) logits.
            time: (B,) time to death or to the last follow-up.
            event: (B,) 1 = died, 0 = censored.
        """
        if output.shape != (len(time), self.num_outputs) or len(time) != len(event):
            raise ValueError(
                f"logits of shape {tuple(output.shape)} for {len(time)} times, {len(event)} events and "
                f"{self.num_outputs} intervals"
            )
        interval = torch.bucketize(time.double().contiguous(), self.cuts)[:, None]
        died = event.bool()
        log_survival = F.logsigmoid(-output.double()).cumsum(1)
        log_hazard = F.logsigmoid(output.double()).gather(1, interval)[:, 0]
        log_at_end = log_survival.gather(1, interval)[:, 0]
        log_at_start = log_at_end - F.logsigmoid(-output.double()).gather(1, interval)[:, 0]
        log_likelihood = torch.where(died, log_at_start + log_hazard, log_at_end)
        return -log_likelihood.mean().to(output.dtype)

    @staticmethod
    def survival(output: Tensor) -> Tensor:
        """Probability (B, K) to survive each interval."""
        return F.logsigmoid(-output).cumsum(1).exp()

    def risk(self, output: Tensor) -> Tensor:
        """Risk (B,), higher = earlier death: minus the expected number of intervals that a patient survives."""
        return -self.survival(output).sum(1)

    def predict(self, output: Tensor) -> Tensor:
        """Risk (B, 1)."""
        return self.risk(output)[:, None]


def fit_cuts(time: np.ndarray, event: np.ndarray, num_intervals: int) -> list[float]:
    """Times that separate ``num_intervals`` intervals with about equal numbers of deaths: quantiles of death times.

    Args:
        time: (N,) times of the training patients.
        event: (N,) 1 = died.
        num_intervals: number of intervals K, at least 2; the result has fewer if death times coincide.

    Raises:
        InputError: there are fewer deaths than intervals.
    """
    deaths = np.asarray(time, float)[np.asarray(event) == 1]
    if num_intervals < 2 or len(np.unique(deaths)) < num_intervals:
        raise InputError(
            f"{num_intervals} time intervals cannot be built from {len(np.unique(deaths))} different death times; "
            "set num_intervals to at least 2 and at most the number of deaths in a training fold"
        )
    return np.unique(np.quantile(deaths, np.arange(1, num_intervals) / num_intervals)).tolist()
