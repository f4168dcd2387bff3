"""Values of settings that their types do not permit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle import ConfigParser

from hmgdm_monai.tasks.configs.components import (
    SEPARATOR,
    components,
    followed,
    has_reference,
    is_component,
    is_disabled,
    parameters_of,
    target_of,
    used_names,
)
from hmgdm_monai.tasks.configs.settings.annotations import argument_type
from hmgdm_monai.tasks.configs.settings.registry import full_type, part_settings, workflow_settings
from hmgdm_monai.tasks.configs.settings.values import WrongValueError, checked

# Paths of values, and their types.
_Typed = Iterator[tuple[str, Any, Any]]


def convert_values(parser: ConfigParser) -> tuple[list[str], dict[str, str]]:
    """Check all values of a config that are no references, expressions or components.

    In the config, texts such as "false" and "3" are replaced by the values that they stand for.

    Args:
        parser: parser of the config, overrides included.

    Returns:
        Paths of the values that were replaced; and a phrase for each wrong value, by path.
    """
    config: dict[str, Any] = parser.get()
    replaced: list[str] = []
    faults: dict[str, str] = {}
    for values in (_top_level(config), _arguments(parser, config)):
        for path, value, wanted in list(values):
            try:
                found = checked(value, wanted)
            except WrongValueError as error:
                faults.setdefault(path, f"{path.replace(SEPARATOR, '#')}: {error}")
            else:
                if repr(found) != repr(value):
                    parser[path] = found
                    replaced.append(path)
    return replaced, faults


def _top_level(config: Mapping[str, Any]) -> _Typed:
    used = used_names(config)
    for name, field in workflow_settings(config).model_fields.items():
        if name not in config or is_component(config[name]) or has_reference(config[name]):
            continue
        if config[name] is not None or name in used:  # null, if nothing reads it, switches a setting off
            yield name, config[name], full_type(field)


def _arguments(parser: ConfigParser, config: dict[str, Any]) -> _Typed:
    described_names = set(workflow_settings(config).model_fields)
    seen: list[dict[str, Any]] = []
    for path, component in components(config):
        # MONAI copies handlers to the engines that have them; one of the copies is enough for a message.
        if component in seen:
            continue
        seen.append(component)
        disabled = component.get("_disabled_")
        if disabled is not None and not has_reference(disabled) and not is_component(disabled):
            yield f"{path}{SEPARATOR}_disabled_", disabled, bool
        if is_disabled(component) or (target := target_of(parser, component)) is None:
            continue
        described = part_settings(str(component["_target_"]), f"{target.__module__}.{target.__qualname__}")
        known = described.model_fields if described else {}
        parameters = parameters_of(parser, target, component) or {}
        for name, value in component.items():
            if name not in parameters:
                continue
            place, value = followed(parser, f"{path}{SEPARATOR}{name}", value)
            if has_reference(value) or place in described_names and value is not None:
                continue
            if value is None and has_reference(disabled):
                continue  # null may be what switches the component off
            wanted = full_type(known[name]) if name in known else Any
            if wanted is Any:
                wanted = argument_type(target, parameters[name])
            if wanted is not Any and parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                yield place, value, wanted
