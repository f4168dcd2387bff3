"""Parts of a config as plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from monai.bundle import ConfigParser

from hmgdm_monai.tasks.configs.plain import plain_settings

CONFIG: dict[str, Any] = {
    "imports": ["$import os"],
    "size": 4,
    "doubled": "$2 * @size",
    "folder": "runs",
    "device": "cpu",
    "kind": "a",
    "network": {"_target_": "torch.nn.Linear", "in_features": "@size", "out_features": "@doubled"},
    "placed": "$@network.to(@device)",
    "loss": {"_target_": "torch.nn.MSELoss"},
    "step": {
        "_target_": "builtins.dict",
        "_desc_": "of a training",
        "loss": "@loss",
        "network": "@network",
        "params": "$@network.parameters()",
        "path": "$os.path.join(@folder, 'x')",
        "placed": "@placed",
        "sizes": ["@size", "$@size + 1", "$os.path.join(@folder, 'y')"],
    },
    "optional": {"_target_": "torch.nn.ReLU", "_disabled_": "$@kind == 'a'"},
    "needed": {"_target_": "torch.nn.ReLU", "_disabled_": "$@kind == 'b'", "inplace": True},
    "nothing": None,
    "around": {"inner": {"deep": "@doubled"}, "other": 1},
}


@pytest.fixture
def parser() -> ConfigParser:
    built = ConfigParser(json.loads(json.dumps(CONFIG)))
    built.parse()
    return built


def test_references_and_expressions_of_values_become_values(parser: ConfigParser) -> None:
    network = plain_settings(parser, ["network"])["network"]
    assert network == {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 8}
    parser["size"] = 5
    parser.parse()
    assert plain_settings(parser, ["network"])["network"]["out_features"] == 10


def test_parts_stay_references_others_are_followed_and_components_are_not_built(parser: ConfigParser) -> None:
    step = plain_settings(parser, ["step", "loss"], free=["folder", "device"])["step"]
    assert step == {
        "_target_": "builtins.dict",
        "loss": "@loss",
        "network": {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 8},
        "params": "$@network.parameters()",
        "sizes": [4, 5],
    }
    alone = plain_settings(parser, ["step"], free=["folder", "device"])["step"]
    assert alone["loss"] == {"_target_": "torch.nn.MSELoss"}
    assert plain_settings(parser, ["step"])["step"]["path"] == "runs/x"


def test_what_is_disabled_null_or_absent_is_passed_over(parser: ConfigParser) -> None:
    found = plain_settings(parser, ["optional", "needed", "nothing", "absent"])
    assert found == {"needed": {"_target_": "torch.nn.ReLU", "inplace": True}}


def test_parts_within_parts_are_nested_as_in_the_config(parser: ConfigParser) -> None:
    assert plain_settings(parser, ["around#inner", "size"]) == {"around": {"inner": {"deep": 8}}, "size": 4}


def test_a_free_part_within_a_part_is_named_with_either_separator(parser: ConfigParser) -> None:
    parser["user"] = {"deep": "@around#inner", "size": "@size"}
    parser.parse()
    for free in ("around#inner", "around::inner"):
        assert plain_settings(parser, ["user"], [free]) == {"user": {"size": 4}}


def test_references_in_a_circle_end() -> None:
    parser = ConfigParser(
        {"a": {"_target_": "builtins.dict", "b": "@b"}, "b": {"_target_": "builtins.dict", "a": "@a"}}
    )
    assert plain_settings(parser, ["a"]) == {
        "a": {"_target_": "builtins.dict", "b": {"_target_": "builtins.dict", "a": "@a"}}
    }


def test_several_processes_have_the_settings_of_one() -> None:
    ranks = "hmgdm_monai.ranks"
    one = {"batch_size": 8, "num_replicas": 1, "rank": 0, "network": "@network"}
    several = {
        "batch_size": {"_target_": f"{ranks}.share_of_batch", "batch_size": "@batch"},
        "num_replicas": {"_target_": f"{ranks}.num_ranks"},
        "rank": {"_target_": f"{ranks}.rank"},
        "network": {"_target_": f"{ranks}.data_parallel", "network": "@network", "some_unused": True},
    }
    found = []
    for loader in (one, several):
        parser = ConfigParser({"batch": 8, "network": {"_target_": "torch.nn.ReLU"}, "loader": loader})
        parser.parse()
        found.append(plain_settings(parser, ["loader", "network"]))
    assert found[0] == found[1] and found[0]["loader"]["batch_size"] == 8
