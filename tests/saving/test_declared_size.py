"""Settings that ask for a network of gigabytes are refused before a byte of it is allocated."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint
from hmgdm_monai.data.files.json_tensor import tensor_to_json
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.saving.classifier_file import build_classifier, load_classifier, save_classifier
from hmgdm_monai.saving.declared_size import check_declared_size
from hmgdm_monai.saving.encoder_file import load_encoder, save_encoder
from hmgdm_monai.saving.entities_file import load_entities, save_entities
from hmgdm_monai.saving.model_file import DESCRIPTION, write_model
from hmgdm_monai.saving.patient_file import PatientModel, load_patient_model, save_patient_model


def pretrained(path: Path, tiny: Any) -> list[str]:
    save_encoder(path, tiny.encoder())
    return ["settings", "hmgdm", "hidden_dim"]


def of_entities(path: Path, tiny: Any) -> list[str]:
    save_entities(path, tiny.entities("window_autoencoder"))
    return ["settings", "latent_channels"]


def classifier(path: Path, tiny: Any) -> list[str]:
    head = {"num_classes": 2, "hidden": 6, "dropout": 0.1}
    save_classifier(path, build_classifier(tiny.encoder(), "finetune", head), "finetune", head, ["a", "b"], [], 0)
    return ["settings", "hidden"]


def patients(path: Path, tiny: Any) -> list[str]:
    from hmgdm_monai.networks.aggregators.build import build_aggregator

    chosen = {"name": "amil", "in_channels": 4, "settings": {"hidden_dim": 8}}
    network, loss = build_aggregator("amil", 4, 1, hidden_dim=8), CoxLoss()
    settings = {"aggregator": chosen, "loss": loss.settings}
    save_patient_model(path, PatientModel(network, loss, settings, {"kind": "survival"}))
    return ["settings", "aggregator", "settings", "hidden_dim"]


FILES = {
    load_encoder: pretrained,
    load_entities: of_entities,
    load_classifier: classifier,
    load_patient_model: patients,
}


@pytest.mark.parametrize("load", FILES)
def test_a_small_file_does_not_make_a_large_network(tmp_path: Path, load: Callable, tiny: Any) -> None:
    path = tmp_path / "model.pt"
    *names, last = FILES[load](path, tiny)
    load(path)
    content = read_checkpoint(path)
    told = {name: value for name, value in tensor_to_json(content[DESCRIPTION]).items() if name != "sha256"}
    settings = told
    for name in names:
        settings = settings[name]
    settings[last] = 2_000_000
    write_model(path, told.pop("content"), content, told)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"model\.pt: is damaged.*settings declare .* MB of weights") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_tables_that_are_not_stored_are_allowed() -> None:
    network = nn.Linear(3, 3)
    network.register_buffer("table", torch.zeros(10_000_000), persistent=False)
    check_declared_size(lambda: network, network.state_dict())
    with pytest.raises(ValueError, match="declare 400 MB"):
        check_declared_size(lambda: nn.Linear(10_000, 10_000), network.state_dict())


def test_layers_without_end_are_refused_at_once() -> None:
    network = nn.Sequential(nn.Linear(3, 3))
    weights = network.state_dict()
    with pytest.raises(ValueError, match="declare more than 1004 weights"):
        check_declared_size(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**9))), weights)
    check_declared_size(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(400))), weights)
