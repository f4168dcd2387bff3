"""The weights that ship: of our own training, small, without personal paths, and of one mind with each other."""

from __future__ import annotations

import json
from inspect import Parameter, signature
from pathlib import Path
from pydoc import locate
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from hmgdm_monai.data.files.json_tensor import tensor_to_json
from hmgdm_monai.saving.classifier_file import load_classifier
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.tasks.configs.plain import plain_settings

BUNDLE = Path(__file__).parents[2] / "bundle"
MODEL, CLASSIFIER = BUNDLE / "models/model.pt", BUNDLE / "models/classifier.pt"


def test_they_are_small_and_name_no_folder() -> None:
    assert MODEL.stat().st_size + CLASSIFIER.stat().st_size < 16 * 2**20
    for path in (MODEL, CLASSIFIER):
        state = torch.load(path, weights_only=True)
        told = [tensor_to_json(value) for name, value in state.items() if name.endswith("_extra_state")]
        assert told and "/" not in json.dumps(told)
        assert any(one.get("run_settings", {}).get("data", {}).get("manifest") == "manifest.csv" for one in told)


def without_defaults(settings: Any) -> Any:
    """Settings without the arguments that equal the defaults of their class: files may list them or not."""
    if isinstance(settings, list):
        return [without_defaults(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    target: Any = locate(settings.get("_target_", ""))
    parameters = signature(target).parameters if callable(target) else {}
    kept = {}
    for name, value in settings.items():
        default = parameters[name].default if name in parameters else Parameter.empty
        plain = without_defaults(value)
        made = locate(plain["_target_"])() if isinstance(plain, dict) and set(plain) == {"_target_"} else plain
        if default is Parameter.empty or made != default:
            kept[name] = plain
    return kept


def test_the_encoder_is_of_our_training_command_with_its_defaults() -> None:
    parser = ConfigParser(ConfigParser.load_config_file(BUNDLE / "configs/train.json"))
    parts = plain_settings(parser, ["recipe", "noising", "backbone_entities", "network_def"])
    encoder = load_encoder(MODEL)
    stored = {name: encoder.run_settings[name] for name in parts}
    assert without_defaults(stored) == without_defaults(parts)
    network, entities = (parts[name] for name in ("network_def", "backbone_entities"))
    own = {name: value for name, value in network.items() if name not in ("_target_", "latent_dim")}
    assert encoder.settings["hmgdm"] == encoder.settings["hmgdm"] | own
    assert encoder.settings["entities"]["settings"]["backbones"] == [entities["backbones"]]


def test_the_classifier_is_of_this_encoder_and_classifies(stained) -> None:
    encoder, classifier = load_encoder(MODEL), load_classifier(CLASSIFIER)
    assert classifier.network.encoder.digest() == encoder.digest()
    assert classifier.classes == ("0_stroma_benign", "1_gleason3", "2_gleason4")
    tiles = torch.from_numpy(np.ascontiguousarray(stained(256, 256).transpose(2, 0, 1)))[None]
    with torch.inference_mode():
        assert torch.allclose(classifier.network(tiles).softmax(1).sum(1), torch.ones(1))


@pytest.mark.parametrize(
    ("config", "name"), [("classify", "model"), ("inference", "model"), ("survival", "pretrained")]
)
def test_it_is_the_encoder_where_no_other_is_given(config: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLE.parent)
    parser = ConfigParser(ConfigParser.load_config_file(BUNDLE / f"configs/{config}.json"))
    assert Path(parser.get_parsed_content(name)).resolve() == MODEL
