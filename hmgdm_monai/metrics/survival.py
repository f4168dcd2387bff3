"""How well predicted risks and survival curves fit what happened: scikit-survival's measures over folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from torch import Tensor

METRICS = ("harrell_c", "uno_c", "auc", "integrated_brier")


@dataclass(frozen=True)
class FoldOutcome:
    """What a model of one fold said of its test patients, and what happened.

    Attributes:
        time, event, risk: (P,) of the test patients; event 1 = died, higher risk = earlier death.
        train_time, train_event: (Q,) of the patients it was trained on: the distribution of censoring is theirs.
        survival: (P, T) probability to outlive each of ``times``; None for a model that has no such thing.
        times: (T,) ascending.
    """

    time: np.ndarray
    event: np.ndarray
    risk: np.ndarray
    train_time: np.ndarray
    train_event: np.ndarray
    survival: np.ndarray | None = None
    times: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> FoldOutcome:
        """Some of its test patients, repeats allowed."""
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
    """Harrell's C-index and the number of comparable pairs; (nan, 0) where no pair can be compared.

    A pair counts where one is known to have died before the other; ties in risk count one half.
    """
    from sksurv.exceptions import NoComparablePairException
    from sksurv.metrics import concordance_index_censored

    event = np.asarray(event).astype(bool)
    if not event.any():
        return float("nan"), 0
    try:
        with np.errstate(invalid="ignore"):  # pairs that share their time alone give 0 / 0
            c, concordant, discordant, tied, _ = concordance_index_censored(event, time, risk)
    except NoComparablePairException:
        return float("nan"), 0
    return float(c), int(concordant + discordant + tied)


def follow_up_horizon(train_time: np.ndarray) -> float:
    """The time that a tenth of the training patients were followed beyond; later, weights of censoring grow wild."""
    return float(np.quantile(train_time, 0.9, method="lower"))


def score_fold(fold: FoldOutcome) -> dict[str, tuple[float, float]]:
    """Measures of one fold, each with its weight among folds; nan and 0 where the fold does not allow it.

    - ``harrell_c``: weight = comparable pairs.
    - ``uno_c``: C-index weighted by the inverse probability of censoring, up to the horizon; weight as Harrell's.
    - ``auc``: cumulative/dynamic AUC, a mean over the deciles of training death times; weight = deaths to the horizon.
    - ``integrated_brier``: Brier score over the same span; weight = patients. Needs ``survival``.

    What happened after the horizon counts as censored there (see :func:`follow_up_horizon`).
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
    # A case at the first time and a control after the last are needed.
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


def score_folds(
    folds: Sequence[FoldOutcome], num_bootstrap: int = 500, seed: int = 0, confidence: float = 0.95
) -> dict[str, Any]:
    """Measures over all folds, with bootstrap intervals over patients.

    Risks of different folds come from different models and are not on one scale, so no pair of patients is compared
    across folds: each measure is the mean over folds, weighted as in :func:`score_fold`. For Harrell's C this is the
    share of concordant pairs among all comparable pairs within folds. The interval is the percentile interval over
    resamples of the test patients within their folds; models stay as they are, so it tells nothing of what another
    training would give.

    Returns:
        For each measure ``value``, ``low``, ``high`` (None where it is not defined), ``mean`` and ``sd`` over folds
        (unweighted) and ``folds``.
    """
    by_fold = [score_fold(fold) for fold in folds]
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(num_bootstrap):
        resampled = [score_fold(fold.take(rng.integers(len(fold.time), size=len(fold.time)))) for fold in folds]
        for name in METRICS:
            draws[name].append(_weighted([scores[name] for scores in resampled]))
    result = {}
    for name in METRICS:
        values = np.array([scores[name][0] for scores in by_fold])
        there = values[np.isfinite(values)]
        drawn = np.array(draws[name])
        drawn = drawn[np.isfinite(drawn)]
        tail = 50 * (1 - confidence)
        low, high = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
        result[name] = {
            "value": _or_none(_weighted([scores[name] for scores in by_fold])),
            "low": _or_none(low),
            "high": _or_none(high),
            "mean": _or_none(there.mean() if len(there) else np.nan),
            "sd": _or_none(there.std(ddof=1) if len(there) > 1 else np.nan),
            "folds": [_or_none(value) for value in values],
        }
    return result


class _Collected(Metric):
    """Ignite metric over all patients of an epoch, from outputs {pred (B, K), label (B, 2) of time and event}."""

    required_output_keys = ("pred", "label")

    def reset(self) -> None:
        """Forget what was collected."""
        self._output: list[Tensor] = []
        self._label: list[Tensor] = []

    def update(self, output: tuple[Tensor, Tensor]) -> None:
        """Take in a batch."""
        self._output.append(output[0].detach())
        self._label.append(output[1].detach())

    def gather(self) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (P, K), times (P,) and events (P,)."""
        label = torch.cat(self._label)
        return torch.cat(self._output), label[:, 0], label[:, 1]


class EpochLoss(_Collected):
    """A survival loss over all patients at once: batch by batch, Cox's risk sets would be those of the batches."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        super().__init__()

    def compute(self) -> float:
        """Loss of all patients since the reset."""
        output, time, event = self.gather()
        return float(self.loss(output, time, event))


class ConcordanceIndex(_Collected):
    """Harrell's C-index over all patients of an epoch.

    Args:
        loss: whose ``risk`` turns outputs into risks.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        super().__init__()

    def compute(self) -> float:
        """C-index since the reset; nan where no pair can be compared."""
        output, time, event = self.gather()
        return harrell_c(*(part.double().cpu().numpy() for part in (time, event, self.loss.risk(output))))[0]


def _outcomes(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Outcomes as scikit-survival takes them."""
    from sksurv.util import Surv

    return Surv.from_arrays(np.asarray(event).astype(bool), np.asarray(time, float))


def _weighted(scores: Sequence[tuple[float, float]]) -> float:
    values, weights = np.array(scores, float).T
    there = weights > 0
    return float(np.average(values[there], weights=weights[there])) if there.any() else float("nan")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
