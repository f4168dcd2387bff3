"""Components, references and names in a config, as text; nothing is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pydoc import locate
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

SEPARATOR = "::"
OWN_KEYS = ("_target_", "_disabled_", "_requires_", "_mode_", "_desc_")
# Classes that pass keyword arguments on to another one.
_PASSES_ON = {
    "hmgdm_monai.transforms.paired_views.PairedViews": "hmgdm_monai.transforms.color_jitter.ColorJitter",
    "torch_geometric.loader.dataloader.DataLoader": "torch.utils.data.DataLoader",
    "ignite.handlers.tqdm_logger.ProgressBar": "tqdm.tqdm",
}
_AGGREGATOR = "hmgdm_monai.networks.aggregators.build.build_aggregator"


def components(value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the content of each component, outer ones first.

    Args:
        value: content of the config.
        name: path of the content.
    """
    if isinstance(value, dict):
        if is_component(value):
            yield name, value
        for key, one in value.items():
            yield from components(one, f"{name}{SEPARATOR}{key}" if name else str(key))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from components(one, f"{name}{SEPARATOR}{place}")


def is_component(value: Any) -> bool:
    """Whether a value describes an object that a config builds."""
    return isinstance(value, dict) and "_target_" in value


def is_disabled(component: Mapping[str, Any]) -> bool:
    """Whether a component is switched off by a plain value."""
    return str(component.get("_disabled_")).strip().lower() == "true"


def has_reference(value: Any) -> bool:
    """Whether a value contains a reference, an expression or a component, so that its own value is not known yet."""
    if is_component(value):
        return True
    if isinstance(value, dict):
        return any(has_reference(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(has_reference(one) for one in value)
    return isinstance(value, str) and value.startswith(("@", "$", "%"))


def target_of(parser: ConfigParser, component: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Return the class or function of a component; None if it is an expression or does not exist.

    Args:
        parser: parser of the config.
        component: content of the component.
    """
    target = component["_target_"]
    if not isinstance(target, str) or target.startswith("$"):
        return None
    found = parser.locator.get_component_module_name(target)
    module = found[0] if isinstance(found, list) else found
    located = _located(target if module is None else f"{module}.{target}")
    return located if callable(located) else None


def followed(parser: ConfigParser, path: str, value: Any) -> tuple[str, Any]:
    """Return the path and the value that a reference leads to, directly or through others.

    Args:
        parser: parser of the config.
        path: path of the value.
        value: a reference; any other value is returned as it is.
    """
    seen: set[str] = set()
    while isinstance(value, str) and value.startswith("@") and path not in seen and value[1:] in parser:
        seen.add(path)
        path = ReferenceResolver.normalize_id(value[1:])
        value = parser[path]
    return path, value


def parameters_of(
    parser: ConfigParser, target: Callable[..., Any], component: Mapping[str, Any]
) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a class or function, with those of the class that gets its keyword arguments.

    Args:
        parser: parser of the config.
        target: class or function.
        component: content of the component.

    Returns:
        By name; None if the signature is not known. There is one of the kind ``VAR_KEYWORD`` if further names are
        possible.
    """
    try:
        found = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # of C code
        return None
    passes_to = _passes_to(parser, f"{target.__module__}.{target.__qualname__}", component)
    if passes_to is None:
        return found
    found = {name: one for name, one in found.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
    return dict(inspect.signature(passes_to).parameters) | found


def used_names(config: Mapping[str, Any]) -> set[str]:
    """Return all names that something in a config refers to, and their prefixes."""
    return {part for text in texts(config) for name in references(text) for part in prefixes(name)}


def texts(value: Any) -> Iterator[str]:
    """Yield all texts of a config."""
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def references(text: str) -> list[str]:
    """Return the names that a text refers to: "train::loader" for "@train#loader"."""
    names = list(ReferenceResolver.match_refs_pattern(text)) if text.startswith(("@", "$")) else []
    names += [text[1:]] if text.startswith("%") else []
    return [ReferenceResolver.normalize_id(name) for name in names]


def prefixes(name: str) -> Iterator[str]:
    """Yield a name and the groups that it is in: "train" and "train::loader" for "train::loader"."""
    parts = name.split(SEPARATOR)
    for count in range(1, len(parts) + 1):
        yield SEPARATOR.join(parts[:count])


@cache
def _located(name: str) -> Any:
    return locate(name)


def _passes_to(parser: ConfigParser, target: str, component: Mapping[str, Any]) -> Callable[..., Any] | None:
    if target == _AGGREGATOR:
        registry = _located("hmgdm_monai.networks.aggregators.build.AGGREGATORS")
        name = followed(parser, "", component.get("name"))[1]
        chosen: Callable[..., Any] | None = registry.get(name) if isinstance(name, str) else None
        return chosen
    located: Callable[..., Any] | None = _located(_PASSES_ON[target]) if target in _PASSES_ON else None
    return located
