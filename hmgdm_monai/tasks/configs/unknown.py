"""Settings that nothing reads, such as misspelled names on the command line or in an override file."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterator
from pydoc import locate
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.properties import InferProperties, TrainProperties
from monai.bundle.reference_resolver import ReferenceResolver
from monai.utils import BundlePropertyConfig

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.running import running_config

_SEPARATOR = "::"
# Names that need no reference: those that MONAI reads, programs, and groups of named parts.
_ROOTS = {
    *(str(one[BundlePropertyConfig.ID]) for one in (*TrainProperties.values(), *InferProperties.values())),
    *("_meta_", "imports", "initialize", "finalize", "run", "handlers", "loss", "optimizer", "lr_scheduler"),
}
logger = logging.getLogger(__name__)

_OWN_KEYS = ("_target_", "_disabled_", "_requires_", "_mode_", "_desc_")


def refuse_unknown_settings() -> None:
    """Refuse the running config if an override sets something that nothing reads.

    Something must refer to each top-level name and to each name in a group such as ``train``, unless MONAI reads it. An
    argument of a component must be one that its target takes. If an override leaves another setting without effect, as
    ``optimizer::lr`` does with ``learning_rate``, this is logged.

    Raises:
        InputError: there are such settings; one line names all, each with the nearest real name.
    """
    parser = running_config()
    faults = unknown_settings(parser)
    if faults:
        raise InputError("; ".join(faults))
    for name in settings_without_effect(parser):
        logger.warning("%s has no effect: nothing refers to it after the overrides", name)


def unknown_settings(parser: ConfigParser) -> list[str]:
    """Return one phrase for each setting that an override names and nothing reads.

    Args:
        parser: parser of the config, overrides included.
    """
    config: dict[str, Any] = parser.get()
    used, roots = _used(config), _roots()
    known = sorted(name for name in config if not name.startswith("_") and (name in used or name in roots))
    added = _added(config)
    faults = []
    for name, value in _settings_of(config):
        if name not in used | roots:
            faults += [_fault(name, name, known, "there is no such setting")] if name in added else []
        elif isinstance(value, dict) and name != "handlers":
            faults += _unknown_in_group(name, value, used | roots)
    return faults + [fault for name, value in _components(config) for fault in _unknown_arguments(parser, name, value)]


def settings_without_effect(parser: ConfigParser) -> list[str]:
    """Return the names of settings in the first config file that nothing reads.

    Args:
        parser: parser of the config, overrides included.
    """
    config: dict[str, Any] = parser.get()
    read = _used(config) | _roots() | _added(config)
    return [name for name, _ in _settings_of(config) if name not in read]


def _settings_of(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the top-level items that something should refer to."""
    for name, value in config.items():
        # Null switches a setting off. A component that nothing uses is never built. Names that begin with _ are
        # descriptions, or values that a config keeps for its own expressions.
        if value is None or name.startswith("_") or _is_program(value) or _is_component(value):
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
    inner = [key for key in group if f"{name}{_SEPARATOR}{key}" in used]
    if not inner:
        return []
    keys = list(group)
    return [
        _fault(f"{name}#{key}", key, sorted(inner), "there is no such setting")
        for key in keys[keys.index(inner[-1]) + 1 :]
        if not key.startswith("_")
    ]


def _unknown_arguments(parser: ConfigParser, name: str, component: dict[str, Any]) -> list[str]:
    target = component["_target_"]
    disabled = str(component.get("_disabled_")).lower() == "true"
    if disabled or not isinstance(target, str) or target.startswith("$"):
        return []
    found = parser.locator.get_component_module_name(target)
    module = found[0] if isinstance(found, list) else found
    callable_ = locate(target if module is None else f"{module}.{target}")
    if not callable(callable_):
        return [f"{name}: there is no {target} to build; see that it is spelled right and installed"]
    try:
        parameters = inspect.signature(callable_).parameters
    except (TypeError, ValueError):  # of C code
        return []
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return []
    return [
        _fault(f"{name}#{key}", key, sorted(parameters), f"{target.rpartition('.')[2]} has no such argument")
        for key in component
        if key not in parameters and not key.startswith(_OWN_KEYS)
    ]


def _components(value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        if _is_component(value):
            yield name, value
        for key, one in value.items():
            yield from _components(one, f"{name}#{key}" if name else str(key))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _components(one, f"{name}#{place}")


def _is_component(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def _is_program(value: Any) -> bool:
    """Whether a top-level value is a list of steps of a run."""
    return isinstance(value, list) and any(
        _is_component(one) or isinstance(one, str) and one.startswith(("$", "@")) for one in value
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _used(config: dict[str, Any]) -> set[str]:
    return {part for text in _texts(config) for part in _prefixes(text)}


def _roots() -> set[str]:
    return {part for root in _ROOTS for part in _prefixes_of(root)}


def _prefixes(text: str) -> Iterator[str]:
    """Yield all names that a text refers to: "train" and "train::loader" for "@train#loader"."""
    names = list(ReferenceResolver.match_refs_pattern(text)) if text.startswith(("@", "$")) else []
    names += [text[1:]] if text.startswith("%") else []
    for name in names:
        yield from _prefixes_of(ReferenceResolver.normalize_id(name))


def _prefixes_of(name: str) -> Iterator[str]:
    parts = name.split(_SEPARATOR)
    for count in range(1, len(parts) + 1):
        yield _SEPARATOR.join(parts[:count])


def _fault(name: str, last: str, candidates: list[str], what: str) -> str:
    near = difflib.get_close_matches(last, candidates, n=1, cutoff=0.5)
    return f"{name}: {what}" + (f"; did you mean {near[0]}?" if near else "")
