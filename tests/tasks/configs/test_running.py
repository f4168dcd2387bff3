"""Which config is running."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.running import running_config

ASK = {"_target_": "hmgdm_monai.tasks.configs.running.running_config"}


def test_a_component_and_an_expression_find_the_config_that_names_them() -> None:
    parser = ConfigParser({"imports": ["$import hmgdm_monai.tasks.configs.running as here"], "component": ASK})
    parser["expression"] = "$here.running_config()"
    assert parser.get_parsed_content("component") is parser
    assert parser.get_parsed_content("expression") is parser


def test_of_two_configs_the_inner_one_is_running() -> None:
    inner = ConfigParser({"component": ASK})
    outer = ConfigParser({"inner": "$@parser.get_parsed_content('component')", "component": ASK})
    outer["parser"] = inner
    assert outer.get_parsed_content("inner") is inner
    assert outer.get_parsed_content("component") is outer


def test_without_a_config_there_is_one_line() -> None:
    with pytest.raises(InputError, match="no config is running"):
        running_config()
