"""Command lines drawn from the typed settings: what is right passes, what is wrong is refused and named."""

from __future__ import annotations

import copy
import types
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from fire.parser import DefaultParseValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from hmgdm_monai.tasks.configs.settings.phrases import split_annotated
from hmgdm_monai.tasks.configs.settings.registry import full_type, workflow_settings
from hmgdm_monai.tasks.configs.settings.types import Choices, Device
from hmgdm_monai.tasks.configs.wrong_values import convert_values

CONFIGS = Path(__file__).resolve().parents[3] / "bundle/configs"
STACKS = (
    ("train.json", "dirl.json", "baselines/simclr.json"),
    ("train.json", "baselines/clock.json"),
    ("classify.json",),
    ("survival.json", "patient_classes.json"),
    ("survival.json", "evaluate_patients.json"),
    ("inference.json",),
    ("evaluate.json",),
)
WORDS = st.text("abcxyz", min_size=4, max_size=9)


@cache
def config_of(stack: tuple[str, ...]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in stack])
    return parser


def bounds(metadata: tuple[Any, ...]) -> tuple[float | None, float | None, bool, bool]:
    low = next((one for one in metadata if isinstance(one, Ge | Gt)), None)
    high = next((one for one in metadata if isinstance(one, Le | Lt)), None)
    least = low.ge if isinstance(low, Ge) else low.gt if low else None
    most = high.le if isinstance(high, Le) else high.lt if high else None
    return least, most, isinstance(low, Gt), isinstance(high, Lt)


def options_of(base: Any) -> list[Any]:
    """Types of a union, without null."""
    is_union = get_origin(base) in (Union, types.UnionType)
    return [one for one in get_args(base) if one is not type(None)] if is_union else []


def right(annotation: Any) -> st.SearchStrategy[str]:
    """Texts of the command line that a type permits."""
    base, metadata = split_annotated(annotation)
    names = [name for one in metadata if isinstance(one, Choices) for name in one.names()]
    if names:
        return st.sampled_from(names)
    if annotation == Device:
        return st.sampled_from(["cpu", "cuda", "cuda:1"])
    if options := options_of(base):
        words = ["none", "null", "None"] if type(None) in get_args(base) else []
        return st.one_of(*map(right, options), *map(st.just, words))
    if get_origin(base) is list:
        return st.lists(right(get_args(base)[0]), max_size=3).map(lambda texts: f"[{','.join(texts)}]")
    least, most, above, below = bounds(metadata)
    if base is bool:
        return st.sampled_from(["true", "false", "True", "False", "yes", "no", "1", "0"])
    step = next((one.multiple_of for one in metadata if isinstance(one, MultipleOf)), None)
    if step is not None and least is not None and most is not None:
        return st.integers(int(least / step), int(most / step)).map(lambda count: repr(count * step))
    if base is int:
        return st.integers(None if least is None else int(least), None if most is None else int(most)).map(str)
    if base is float:
        return st.floats(least, most, exclude_min=above, exclude_max=below, allow_nan=False, allow_infinity=False).map(
            repr
        )
    return WORDS  # a text, a path, a backbone


def wrong(annotation: Any) -> st.SearchStrategy[str]:
    """Texts of the command line that a type does not permit."""
    base, metadata = split_annotated(annotation)
    if any(isinstance(one, Choices) for one in metadata) or annotation == Device:
        return st.sampled_from(["no_such_name", "[1]", "2.5", "True"])
    if options := options_of(base):
        return wrong(options[0]) if len(options) == 1 else st.just("[[[1]]]")
    if get_origin(base) is list:
        return st.one_of(st.just("True"), wrong(get_args(base)[0]).filter(lambda text: text != "[1]"))
    least, most, _, _ = bounds(metadata)
    if base is bool:
        return st.sampled_from(["maybe", "2", "0.5", "[True]", "none"])
    if base in (int, float):
        outside = st.integers(max_value=int(least) - 1) if least is not None else st.just("nan")
        if most is not None:
            outside = st.one_of(outside, st.integers(min_value=int(most) + 1))
        fixed = ["nan", "inf", "-inf", "maybe", "True", "[1]", *(["1.5"] if base is int else [])]
        return st.one_of(outside.map(str), st.sampled_from(fixed))
    return st.sampled_from(["True", "2.5", "''", "[[1]]"])


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[tuple[str, ...], dict[str, tuple[str, bool]]]:
    """Configs, and some of their settings: a text each, and whether it is right."""
    stack = draw(st.sampled_from(STACKS))
    config = config_of(stack).get()
    fields = {name: one for name, one in workflow_settings(config).model_fields.items() if name in config}
    fields.pop("target_column", None)  # null is right for survival alone
    names = draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=5, unique=True))
    line = {}
    for name in names:
        is_right = draw(st.booleans())
        line[name] = (draw((right if is_right else wrong)(full_type(fields[name]))), is_right)
    return stack, line


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(command_lines())
def test_what_is_right_passes_and_what_is_wrong_is_named(drawn: tuple[Any, dict[str, tuple[str, bool]]]) -> None:
    stack, line = drawn
    parser = ConfigParser()
    parser.set(copy.deepcopy(config_of(stack).get()))
    parser.update({name: DefaultParseValue(text) for name, (text, _) in line.items()})
    _, faults = convert_values(parser)
    assert set(faults) == {name for name, (_, is_right) in line.items() if not is_right}
    for name, phrase in faults.items():
        assert phrase.startswith(f"{name}: must be ") and "\n" not in phrase
    assert convert_values(parser) == ([], faults)  # a value is converted once


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack[-1])
def test_the_defaults_are_right(stack: tuple[str, ...]) -> None:
    parser = ConfigParser()
    parser.set(copy.deepcopy(config_of(stack).get()))
    assert convert_values(parser) == ([], {})
