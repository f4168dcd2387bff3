"""Settings that nothing reads, such as misspelled names on the command line or in an override file."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.properties import InferProperties, TrainProperties
from monai.utils import BundlePropertyConfig

from hmgdm_monai.tasks.configs.components import (
    OWN_KEYS,
    SEPARATOR,
    components,
    is_component,
    is_disabled,
    parameters_of,
    prefixes,
    target_of,
    used_names,
)

# Names that need no reference: those that MONAI reads, programs, and groups of named parts.
_ROOTS = {
    *(str(one[BundlePropertyConfig.ID]) for one in (*TrainProperties.values(), *InferProperties.values())),
    *("_meta_", "imports", "initialize", "finalize", "run", "handlers", "loss", "optimizer", "lr_scheduler"),
}


def unknown_settings(parser: ConfigParser) -> list[str]:
    """Return one phrase for each setting that an override names and nothing reads.

    Something must refer to each top-level name and to each name in a group such as ``train``, unless MONAI reads it. An
    argument of a component must be one that its target takes.

    Args:
        parser: parser of the config, overrides included.
    """
    config: dict[str, Any] = parser.get()
    used, roots = used_names(config), _roots()
    known = sorted(name for name in config if not name.startswith("_") and (name in used or name in roots))
    added = _added(config)
    faults = []
    for name, value in _settings_of(config):
        if name not in used | roots:
            faults += [no_such_setting(name, name, known)] if name in added else []
        elif isinstance(value, dict) and name != "handlers":
            faults += _unknown_in_group(name, value, used | roots)
    return faults + [fault for name, value in components(config) for fault in _unknown_arguments(parser, name, value)]


def settings_without_effect(parser: ConfigParser) -> list[str]:
    """Return the names of settings in the first config file that nothing reads.

    An example is ``learning_rate`` if ``optimizer::lr`` is overridden.

    Args:
        parser: parser of the config, overrides included.
    """
    config: dict[str, Any] = parser.get()
    read = used_names(config) | _roots() | _added(config)
    return [name for name, _ in _settings_of(config) if name not in read]


def no_such_setting(path: str, name: str, candidates: list[str], what: str = "there is no such setting") -> str:
    """Return the phrase for a name that is not known, with the nearest known one.

    Args:
        path: path of the setting.
        name: last part of the path.
        candidates: known names.
        what: what is wrong.
    """
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return f"{path.replace(SEPARATOR, '#')}: {what}" + (f"; did you mean {near[0]}?" if near else "")


def _settings_of(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the top-level items that something should refer to."""
    for name, value in config.items():
        # Null switches a setting off. A component that nothing uses is never built. Names that begin with _ are
        # descriptions, or values that a config keeps for its own expressions.
        if value is None or name.startswith("_") or _is_program(value) or is_component(value):
            continue
        yield name, value


def _added(config: dict[str, Any]) -> set[str]:
    """Return the names that overrides have added. They come after those of the first file, which ends with ``run``."""
    names = list(config)
    return set(names[names.index("run") + 1 :]) if "run" in names else set(names)


def _unknown_in_group(name: str, group: dict[str, Any], used: set[str]) -> list[str]:
    """Return a phrase for each part of a group that nothing refers to, if other parts are referred to one by one.

    Overrides add parts at the end of a group, so only parts after the last one that is referred to are checked.
    """
    inner = [key for key in group if f"{name}{SEPARATOR}{key}" in used]
    if not inner:
        return []
    keys = list(group)
    return [
        no_such_setting(f"{name}#{key}", key, sorted(inner))
        for key in keys[keys.index(inner[-1]) + 1 :]
        if not key.startswith("_")
    ]


def _unknown_arguments(parser: ConfigParser, name: str, component: dict[str, Any]) -> list[str]:
    target = component["_target_"]
    if is_disabled(component) or not isinstance(target, str) or target.startswith("$"):
        return []
    callable_ = target_of(parser, component)
    if callable_ is None:
        shown = name.replace(SEPARATOR, "#")
        return [f"{shown}: there is no {target} to build; see that it is spelled right and installed"]
    parameters = parameters_of(parser, callable_, component)
    if parameters is None or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return []
    what = f"{target.rpartition('.')[2]} has no such argument"
    return [
        no_such_setting(f"{name}#{key}", key, sorted(parameters), what)
        for key in component
        if key not in parameters and not key.startswith(OWN_KEYS)
    ]


def _is_program(value: Any) -> bool:
    """Whether a top-level value is a list of steps of a run."""
    return isinstance(value, list) and any(
        is_component(one) or isinstance(one, str) and one.startswith(("$", "@")) for one in value
    )


def _roots() -> set[str]:
    return {part for root in _ROOTS for part in prefixes(root.replace("#", SEPARATOR))}
