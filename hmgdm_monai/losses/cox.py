"""Cox partial likelihood with ties."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hmgdm_monai.losses.patient_loss import PatientLoss

TIES = ("efron", "breslow")


class CoxLoss(PatientLoss):
    """Negative log partial likelihood of Cox's model, averaged over the events.

    With r the log hazard ratio, R(t) all patients under observation at t (including those censored at t) and D(t) the d
    patients who die at t, each death time contributes to the log likelihood

    - Breslow (Biometrics 1974): sum_D r - d log sum_R exp(r)
    - Efron (JASA 1977): sum_D r - sum over l = 0..d-1 of log(sum_R exp(r) - l/d sum_D exp(r))

    Both are equal if no two patients die at the same time. Computed in float64 and with logarithms, so that risks of
    any size keep their gradient. The cost is n log n for n patients.

    The risk set is the batch, so a batch must contain several patients, some of whom died; a batch without events has
    loss 0 and gradient 0.

    Args:
        ties: "efron" or "breslow".

    Raises:
        ValueError: ``ties`` is unknown, or (when called) the shapes do not match.
    """

    def __init__(self, ties: str = "efron") -> None:
        super().__init__()
        if ties not in TIES:
            raise ValueError(f"ties must be one of {TIES}, not {ties!r}")
        self.ties = ties

    @property
    def num_outputs(self) -> int:
        """One: the log hazard ratio."""
        return 1

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as stored in a model file."""
        return {"name": "cox", "ties": self.ties}

    def forward(self, output: Tensor, time: Tensor, event: Tensor) -> Tensor:
        """Compute the loss of B patients.

        Args:
            output: (B,) or (B, 1) log hazard ratios; higher = earlier death.
            time: (B,) time to death or to the last follow-up, > 0.
            event: (B,) 1 = died, 0 = censored.

        Returns:
            Scalar, in the type of ``output``.
        """
        if output.numel() != len(time) or len(time) != len(event):
            raise ValueError(f"{output.numel()} risks for {len(time)} times and {len(event)} events")
        order = torch.argsort(time, descending=True)
        risk, died = output.reshape(-1)[order].double(), event[order].bool()
        if not bool(died.any()):
            return output.sum() * 0.0
        # Groups of equal times, in descending order; the risk set of a time ends with its group.
        _, group, size = torch.unique_consecutive(time[order], return_inverse=True, return_counts=True)
        at_risk = torch.logcumsumexp(risk, 0)[size.cumsum(0) - 1]

        risk, group = risk[died], group[died]
        log_terms = at_risk[group]
        if self.ties == "efron":
            deaths = torch.bincount(group, minlength=len(size))
            first = deaths.cumsum(0) - deaths
            share = torch.zeros_like(at_risk).index_add(0, group, torch.exp(risk - log_terms))
            rank = torch.arange(len(group), device=group.device) - first[group]
            log_terms = log_terms + torch.log1p(-(rank.double() / deaths[group]) * share[group])
        return (log_terms - risk).mean().to(output.dtype)

    @staticmethod
    def risk(output: Tensor) -> Tensor:
        """Risk (B,), higher = earlier death: the log hazard ratio itself."""
        return output.reshape(-1)

    def predict(self, output: Tensor) -> Tensor:
        """Risk (B, 1)."""
        return self.risk(output)[:, None]
