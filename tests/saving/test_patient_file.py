"""Models of patients on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.checkpoint_file import write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.build import build_patient_loss
from hmgdm_monai.networks.aggregators.build import AGGREGATORS, build_aggregator
from hmgdm_monai.saving.patient_file import (
    PatientModel,
    load_patient_model,
    load_patient_models,
    save_patient_model,
)

LOSSES: dict[str, dict[str, Any]] = {
    "cox": {"name": "cox", "ties": "efron"},
    "discrete": {"name": "discrete", "cuts": [1.0, 3.0]},
    "classes": {"name": "cross_entropy", "weights": [0.5, 1.0, 2.0]},
    "grades": {"name": "ordinal", "num_classes": 4},
    "numbers": {"name": "huber", "mean": 50.0, "sd": 9.0, "delta": 0.5},
}


def model(kind: str, **target: Any) -> PatientModel:
    torch.manual_seed(0)
    loss = build_patient_loss(LOSSES[kind])
    chosen = {"name": "amil", "in_channels": 4, "settings": {"hidden_dim": 8}}
    network = build_aggregator("amil", 4, loss.num_outputs, hidden_dim=8).eval()
    settings = {"aggregator": chosen, "loss": loss.settings}
    return PatientModel(network, loss, settings, {"kind": kind, **target}, {"median_risk": 0.3}, {"fold": 1})


@pytest.mark.parametrize("kind", LOSSES)
def test_round_trip(kind: str, tmp_path: Path) -> None:
    before = model(kind, column="x")
    save_patient_model(tmp_path / "m.pt", before)
    after = load_patient_model(tmp_path / "m.pt")
    bag = Batch.from_data_list([Data(x=torch.randn(5, 4)), Data(x=torch.randn(2, 4))])
    output = before.network(bag)
    torch.testing.assert_close(after.network(bag), output)
    torch.testing.assert_close(after.loss.predict(output), before.loss.predict(output))
    assert (after.fitted, after.about) == ({"median_risk": 0.3}, {"fold": 1})
    assert after.settings == before.settings and after.target == {"kind": kind, "column": "x"}


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_aggregator_comes_back_by_its_name_and_settings(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    loss = build_patient_loss(LOSSES["classes"])
    network = build_aggregator(name, 4, loss.num_outputs, dropout=0.1).eval()
    network.standardizer.fit(torch.randn(9, 4) * 3)
    settings = {"aggregator": network.settings, "loss": loss.settings}
    save_patient_model(tmp_path / "m.pt", PatientModel(network, loss, settings, {"kind": "classes"}, {}, {}))
    after = load_patient_model(tmp_path / "m.pt").network
    edges, lengths = torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.tensor([1.0, 2.0, 5.0])
    bag = Batch.from_data_list([Data(x=torch.randn(3, 4), edge_index=edges, edge_length=lengths)])
    assert type(after) is type(network) and after.dropout.p == 0.1
    torch.testing.assert_close(after(bag), network(bag))


def test_the_file_is_the_state_of_the_network(tmp_path: Path) -> None:
    before, other = model("cox"), build_aggregator("amil", 4, 1, hidden_dim=8)
    save_patient_model(tmp_path / "m.pt", before)
    other.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert all(torch.equal(*pair) for pair in zip(other.parameters(), before.network.parameters(), strict=True))
    assert other.about["fitted"] == {"median_risk": 0.3}


def test_a_folder_gives_the_models_of_its_folds_in_order(tmp_path: Path) -> None:
    for fold in (10, 2, 0):
        one = model("cox")
        one.about["fold"] = fold
        save_patient_model(tmp_path / f"fold_{fold}.pt", one)
    write_checkpoint(tmp_path / "fold_3_abc.epochs.pt", {})
    assert [one.about["fold"] for one in load_patient_models(tmp_path)] == [0, 2, 10]
    assert len(load_patient_models([str(tmp_path / "fold_2.pt"), tmp_path / "fold_10.pt"])) == 2
    assert len(load_patient_models(tmp_path / "fold_2.pt")) == 1
    save_patient_model(tmp_path / "fold_4.pt", model("cox", column="os"))
    with pytest.raises(InputError, match="fold_4.pt: predicts something else than .*fold_0.pt"):
        load_patient_models(tmp_path)
    save_patient_model(tmp_path / "fold_4.pt", model("numbers"))
    with pytest.raises(InputError, match="fold_4.pt: has loss huber, but .*fold_0.pt has cox"):
        load_patient_models(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.pt", {"weight": torch.zeros(2)})
    with pytest.raises(InputError, match="is no patient model"):
        load_patient_model(tmp_path / "m.pt")
    with pytest.raises(InputError, match="there is no such checkpoint"):
        load_patient_model(tmp_path / "n.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no fold_"):
        load_patient_models(tmp_path / "empty")
