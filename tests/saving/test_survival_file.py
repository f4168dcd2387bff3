"""Survival models on disk, and their survival curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.checkpoint_file import write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.saving.survival_file import (
    SurvivalModel,
    breslow_baseline,
    build_loss,
    load_survival_model,
    save_survival_model,
)

LOSSES = {"cox": {"name": "cox", "ties": "efron"}, "discrete": {"name": "discrete", "cuts": [1.0, 3.0]}}


def model(loss_settings: dict) -> SurvivalModel:
    torch.manual_seed(0)
    loss = build_loss(loss_settings)
    chosen = {"name": "amil", "in_channels": 4, "settings": {"hidden_dim": 8}}
    network = build_aggregator("amil", 4, loss.num_outputs, hidden_dim=8).eval()
    rng = np.random.default_rng(0)
    baseline = breslow_baseline(rng.normal(size=30), rng.exponential(size=30), rng.integers(0, 2, 30))
    return SurvivalModel(network, loss, {"aggregator": chosen, "loss": loss_settings}, 0.3, *baseline, {"fold": 1})


@pytest.mark.parametrize("kind", LOSSES)
def test_round_trip(kind: str, tmp_path: Path) -> None:
    before = model(LOSSES[kind])
    save_survival_model(tmp_path / "m.pt", before)
    after = load_survival_model(tmp_path / "m.pt")
    bag = Batch.from_data_list([Data(x=torch.randn(5, 4)), Data(x=torch.randn(2, 4))])
    output = before.network(bag)
    torch.testing.assert_close(after.network(bag), output)
    times = np.array([0.0, 0.2, 1.0, 2.0, 9.0])
    np.testing.assert_array_equal(after.survival(output, times), before.survival(output, times))
    assert (after.median_risk, after.about, after.settings) == (0.3, {"fold": 1}, before.settings)


def test_the_file_is_the_state_of_the_network(tmp_path: Path) -> None:
    before, other = model(LOSSES["cox"]), build_aggregator("amil", 4, 1, hidden_dim=8)
    save_survival_model(tmp_path / "m.pt", before)
    other.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert all(torch.equal(*pair) for pair in zip(other.parameters(), before.network.parameters(), strict=True))
    assert other.about["median_risk"] == 0.3


def test_curves_of_a_cox_model_are_those_of_scikit_survival() -> None:
    from sksurv.linear_model.coxph import BreslowEstimator

    rng = np.random.default_rng(1)
    risk, time, event = rng.normal(size=40), np.ceil(rng.exponential(size=40) * 5), rng.integers(0, 2, 40)
    ours = model(LOSSES["cox"])
    ours.baseline_times, ours.baseline_log_hazard = breslow_baseline(risk + 700, time, event)  # exp would overflow
    curves = BreslowEstimator().fit(risk, event.astype(bool), time).get_survival_function(risk[:3])
    times = np.array([1.0, 2.5, 4.0])
    found = ours.survival(torch.tensor(risk[:3] + 700)[:, None], times)
    np.testing.assert_allclose(found, [curve(times) for curve in curves], rtol=1e-6)


def test_curves_of_a_discrete_model_fall_at_the_ends_of_its_intervals() -> None:
    found = model(LOSSES["discrete"]).survival(torch.zeros(1, 3), np.array([0.5, 1.0, 2.9, 3.0, 99.0]))
    np.testing.assert_allclose(found, [[1.0, 0.5, 0.5, 0.25, 0.25]])


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.pt", {"weight": torch.zeros(2)})
    with pytest.raises(InputError, match="is no survival model"):
        load_survival_model(tmp_path / "m.pt")
    with pytest.raises(InputError, match="there is no such checkpoint"):
        load_survival_model(tmp_path / "n.pt")
