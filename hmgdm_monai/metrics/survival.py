"""Agreement of predicted risks and survival curves with outcomes: scikit-survival's measures of one fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hmgdm_monai.metrics.epoch_loss import EpochOutputs

METRICS = ("harrell_c", "uno_c", "auc", "integrated_brier")


@dataclass(frozen=True)
class FoldOutcome:
    """Predictions of one fold's model for its test patients, and their outcomes.

    Attributes:
        time: (P,) times of the test patients.
        event: (P,) events of the test patients; 1 = died.
        risk: (P,) predicted risks of the test patients; higher = earlier death.
        train_time: (Q,) times of the training patients, for the distribution of censoring.
        train_event: (Q,) events of the training patients, for the distribution of censoring.
        survival: (P, T) probability to survive each of ``times``; None for a model without survival curves.
        times: (T,) ascending; None for a model without survival curves.
    """

    time: np.ndarray
    event: np.ndarray
    risk: np.ndarray
    train_time: np.ndarray
    train_event: np.ndarray
    survival: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of test patients."""
        return len(self.time)

    def take(self, chosen: np.ndarray) -> FoldOutcome:
        """Select some of its test patients, with repetitions allowed."""
        survival = None if self.survival is None else self.survival[chosen]
        return FoldOutcome(
            self.time[chosen],
            self.event[chosen],
            self.risk[chosen],
            self.train_time,
            self.train_event,
            survival,
            self.times,
        )


def harrell_c(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> tuple[float, int]:
    """Harrell's C-index and the number of comparable pairs; (nan, 0) if no pair can be compared.

    A pair is comparable if one patient is known to have died before the other; ties in risk count one half.

    Args:
        time: (N,) times.
        event: (N,) 1 = died.
        risk: (N,) higher = earlier death.
    """
    from sksurv.exceptions import NoComparablePairException
    from sksurv.metrics import concordance_index_censored

    event = np.asarray(event).astype(bool)
    if not event.any():
        return float("nan"), 0
    try:
        with np.errstate(invalid="ignore"):  # pairs that are tied only in time give 0 / 0
            c, concordant, discordant, tied, _ = concordance_index_censored(event, time, risk)
    except NoComparablePairException:
        return float("nan"), 0
    return float(c), int(concordant + discordant + tied)


def follow_up_horizon(train_time: np.ndarray) -> float:
    """Time beyond which a tenth of the training patients were followed; later, weights of censoring become unstable."""
    return float(np.quantile(train_time, 0.9, method="lower"))


def score_survival(fold: FoldOutcome) -> dict[str, tuple[float, float]]:
    """Compute the measures of one fold and their weights among folds; nan and 0 if a measure is not defined.

    - ``harrell_c``: weight = comparable pairs.
    - ``uno_c``: C-index weighted by the inverse probability of censoring, up to the horizon; weight = comparable pairs.
    - ``auc``: cumulative/dynamic AUC, averaged over the deciles of training death times; weight = deaths up to the
      horizon.
    - ``integrated_brier``: Brier score over the same range; weight = patients. Needs ``survival``.

    Patients are censored at the horizon (see :func:`follow_up_horizon`).
    """
    from sksurv.metrics import concordance_index_ipcw, cumulative_dynamic_auc, integrated_brier_score

    c, pairs = harrell_c(fold.time, fold.event, fold.risk)
    scores = {name: (float("nan"), 0.0) for name in METRICS}
    scores["harrell_c"] = (c, float(pairs))
    tau = follow_up_horizon(fold.train_time)
    before = fold.time < tau
    train = _outcomes(fold.train_event, fold.train_time)
    test = _outcomes(fold.event * before, np.minimum(fold.time, tau))
    deaths = test["event"].sum()
    capped, capped_pairs = harrell_c(test["time"], test["event"], fold.risk)
    if capped_pairs:
        scores["uno_c"] = (float(concordance_index_ipcw(train, test, fold.risk)[0]), float(capped_pairs))
    died_at = fold.train_time[(fold.train_event == 1) & (fold.train_time < tau)]
    if deaths == 0 or len(died_at) == 0:
        return scores
    # There must be a case at the first time and a control after the last.
    first_death, last = test["time"][test["event"]].min(), test["time"].max()
    times = np.unique(np.quantile(died_at, np.arange(1, 10) / 10))
    times = times[(times >= first_death) & (times < last)]
    if len(times):
        auc = cumulative_dynamic_auc(train, test, fold.risk, times)[1]
        scores["auc"] = (float(auc), float(deaths)) if np.isfinite(auc) else scores["auc"]
    if fold.survival is not None and fold.times is not None:
        within = (fold.times >= test["time"].min()) & (fold.times < last)
        if within.sum() >= 2:
            brier = integrated_brier_score(train, test, fold.survival[:, within], fold.times[within])
            scores["integrated_brier"] = (float(brier), float(len(test)))
    return scores


class ConcordanceIndex(EpochOutputs):
    """Harrell's C-index over all patients of an epoch.

    Args:
        loss: loss whose method ``risk`` converts outputs to risks.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        super().__init__()

    def compute(self) -> float:
        """C-index since the reset; nan if no pair can be compared."""
        output, (time, event) = self.gather()
        return harrell_c(*(part.double().cpu().numpy() for part in (time, event, self.loss.risk(output))))[0]


def _outcomes(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Convert outcomes to scikit-survival's format."""
    from sksurv.util import Surv

    return Surv.from_arrays(np.asarray(event).astype(bool), np.asarray(time, float))
