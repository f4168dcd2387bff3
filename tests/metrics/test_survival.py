"""Survival measures: known risks, scale and sign, folds kept apart, intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.metrics.epoch_loss import EpochLoss
from hmgdm_monai.metrics.fold_scores import score_folds
from hmgdm_monai.metrics.survival import ConcordanceIndex, FoldOutcome, harrell_c, score_survival


def fold(seed: int = 0, count: int = 120, noise: float = 0.0, sign: float = 1.0, curve: bool = True) -> FoldOutcome:
    """Exponential survival with a known log hazard, seen with noise."""
    rng = np.random.default_rng(seed)
    log_hazard = rng.normal(size=2 * count) * 1.5
    death, end = rng.exponential(np.exp(-log_hazard)), rng.exponential(2.0, 2 * count)
    time, event = np.minimum(death, end) + 1e-3, (death <= end).astype(int)
    risk = sign * (log_hazard + noise * rng.normal(size=2 * count))
    times = np.linspace(0.05, 1.0, 12)
    survival = np.exp(-np.exp(risk[:count, None]) * times[None]) if curve else None
    return FoldOutcome(time[:count], event[:count], risk[:count], time[count:], event[count:], survival, times)


def test_c_index_of_a_known_risk() -> None:
    time, event = np.arange(1.0, 9.0), np.array([1, 0, 1, 1, 0, 1, 0, 1])
    assert harrell_c(time, event, -time)[0] == 1
    assert harrell_c(time, event, time)[0] == 0
    assert harrell_c(time, event, np.zeros(8))[0] == 0.5
    # By hand: who died at t is comparable to all who are seen later.
    assert harrell_c(time, event, -time)[1] == 7 + 5 + 4 + 2


def test_where_no_pair_can_be_compared_there_is_no_c_index() -> None:
    for time, event in (([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0, 1]), ([1.0, 1.0], [1, 1])):
        c, pairs = harrell_c(np.array(time), np.array(event), np.zeros(2))
        assert np.isnan(c) and pairs == 0


def test_higher_risk_means_earlier_death_in_every_measure() -> None:
    good, bad = score_survival(fold()), score_survival(fold(sign=-1.0))
    for name in ("harrell_c", "uno_c", "auc"):
        assert good[name][0] > 0.7 and bad[name][0] == pytest.approx(1 - good[name][0], abs=1e-9)
    assert good["integrated_brier"][0] < 0.2 < bad["integrated_brier"][0]


def test_a_monotone_change_of_risk_and_the_order_of_patients_change_nothing() -> None:
    one = fold(noise=0.5)
    stretched = FoldOutcome(one.time, one.event, np.exp(one.risk) * 3, one.train_time, one.train_event)
    order = np.random.default_rng(0).permutation(len(one.time))
    for name in ("harrell_c", "uno_c", "auc"):
        assert score_survival(stretched)[name] == pytest.approx(score_survival(one)[name])
    for name, score in score_survival(one.take(order)).items():
        assert score == pytest.approx(score_survival(one)[name])


def test_risks_are_never_compared_across_folds() -> None:
    folds = [fold(seed, 40) for seed in range(3)]
    shifted = [
        FoldOutcome(f.time, f.event, f.risk + 1000 * n, f.train_time, f.train_event, f.survival, f.times)
        for n, f in enumerate(folds)
    ]
    one, other = (
        score_folds(folds, score_survival, num_bootstrap=0),
        score_folds(shifted, score_survival, num_bootstrap=0),
    )
    assert one["harrell_c"] == other["harrell_c"]
    assert one["harrell_c"]["folds"] == [harrell_c(f.time, f.event, f.risk)[0] for f in folds]


def test_intervals_hold_the_value_and_narrow_with_patients() -> None:
    few, many = (
        score_folds([fold(0, n, noise=1.0), fold(1, n, noise=1.0)], score_survival, num_bootstrap=60) for n in (25, 150)
    )
    for name in few:
        assert many[name]["low"] < many[name]["value"] < many[name]["high"]
    assert many["harrell_c"]["high"] - many["harrell_c"]["low"] < few["harrell_c"]["high"] - few["harrell_c"]["low"]


def test_a_tiny_fold_leaves_out_what_it_does_not_allow() -> None:
    whole = fold(0, 60)
    alive = np.flatnonzero(whole.event == 0)[:4]
    scores = score_folds([whole, whole.take(alive)], score_survival, num_bootstrap=5)
    assert scores["harrell_c"]["folds"][1] is None
    assert scores["harrell_c"]["value"] == pytest.approx(scores["harrell_c"]["folds"][0])
    assert score_survival(fold(curve=False))["integrated_brier"][1] == 0


@pytest.mark.parametrize("batch", [7, 50])
def test_ignite_metrics_see_all_patients_at_once(batch: int) -> None:
    one, loss = fold(noise=0.5), CoxLoss()
    output = torch.tensor(one.risk)[:, None]
    label = torch.stack((torch.tensor(one.time), torch.tensor(one.event).double()), 1)
    engine = Engine(lambda _, where: {"pred": output[where], "label": label[where]})
    ConcordanceIndex(loss).attach(engine, "c")
    EpochLoss(loss).attach(engine, "loss")
    found = engine.run(torch.arange(len(output)).split(batch)).metrics
    assert found["c"] == pytest.approx(harrell_c(one.time, one.event, one.risk)[0])
    assert found["loss"] == pytest.approx(loss(output, label[:, 0], label[:, 1]).item())
