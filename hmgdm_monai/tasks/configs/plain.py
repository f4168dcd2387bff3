"""Parts of a config as plain values, to identify a run and to store in a model file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ConfigExpression
from monai.bundle.reference_resolver import ReferenceResolver

_LEFT_OUT = object()
_SEPARATOR = "::"
# The number of training processes does not change what a run is, so these are given as for a single process.
_OF_ONE_PROCESS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "hmgdm_monai.ranks.num_ranks": lambda arguments: 1,
    "hmgdm_monai.ranks.rank": lambda arguments: 0,
    "hmgdm_monai.ranks.share_of_batch": lambda arguments: arguments["batch_size"],
    "hmgdm_monai.ranks.data_parallel": lambda arguments: arguments["network"],
}


def plain_settings(parser: ConfigParser, names: Sequence[str], free: Collection[str] = ()) -> dict[str, Any]:
    """Return parts of a config, with references and simple expressions replaced by their values.

    A reference to a component is replaced by its definition, except if the component is one of the parts: then it stays
    "@name". Expressions that use components stay as text. No component is built.

    Args:
        parser: parser of the config, overrides included.
        names: names of the parts, such as "optimizer" or "train#dataloader". Missing and null parts are left out.
        free: names of settings to ignore; values that refer to them are left out.

    Returns:
        JSON values, nested as in the config.
    """
    wanted = [ReferenceResolver.normalize_id(name) for name in names]
    reader = _Reader(parser, set(wanted), {ReferenceResolver.normalize_id(name) for name in free})
    found: dict[str, Any] = {}
    for name in wanted:
        if name in parser:
            value = reader.plain(name, parser[name])
            if value is not None and value is not _LEFT_OUT:
                _put(found, name.split(_SEPARATOR), value)
    return found


class _Reader:
    def __init__(self, parser: ConfigParser, parts: set[str], free: set[str]) -> None:
        self.parser, self.parts, self.free = parser, parts, free
        self.open: list[str] = []  # references that are being replaced, to stop at circles

    def plain(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return self._mapping(name, value)
        if isinstance(value, list | tuple):
            found = (self.plain(f"{name}{_SEPARATOR}{place}", one) for place, one in enumerate(value))
            return [one for one in found if one is not _LEFT_OUT]
        if not isinstance(value, str):
            return value
        if value.startswith("@"):
            return self._reference(ReferenceResolver.normalize_id(value[1:]), value)
        return self._expression(name, value) if ConfigExpression.is_expression(value) else value

    def _mapping(self, name: str, value: dict[str, Any]) -> Any:
        disabled = self.plain(f"{name}{_SEPARATOR}_disabled_", value.get("_disabled_", False))
        if disabled is True or str(disabled).strip().lower() == "true":
            return _LEFT_OUT
        if (of_one := _OF_ONE_PROCESS.get(str(value.get("_target_")))) is not None:
            return self.plain(name, of_one(value))
        found = {
            key: self.plain(f"{name}{_SEPARATOR}{key}", one)
            for key, one in value.items()
            if not key.startswith("_desc") and key not in ("_disabled_", "_requires_")
        }
        return {key: one for key, one in found.items() if one is not _LEFT_OUT}

    def _reference(self, target: str, text: str) -> Any:
        if target.split(_SEPARATOR)[0] in self.free or target in self.free:
            return _LEFT_OUT
        if target in self.parts or target in self.open or target not in self.parser:
            return text
        self.open.append(target)
        try:
            return self.plain(target, self.parser[target])
        finally:
            self.open.pop()

    def _expression(self, name: str, text: str) -> Any:
        targets = ReferenceResolver.match_refs_pattern(text)
        if any(target.split(_SEPARATOR)[0] in self.free for target in targets):
            return _LEFT_OUT
        if not all(self._is_plain(target) for target in targets):
            return text
        value = self.parser.get_parsed_content(name)
        return value if _is_json(value) else text

    def _is_plain(self, target: str) -> bool:
        """Whether a reference leads to a value, directly or through other references, and not to a component."""
        if target in self.open or target not in self.parser:
            return False
        value = self.parser[target]
        if _has_component(value):
            return False
        self.open.append(target)
        try:
            texts = [text for text in _texts(value) if text.startswith(("@", "$"))]
            return all(self._is_plain(each) for text in texts for each in ReferenceResolver.match_refs_pattern(text))
        finally:
            self.open.pop()


def _has_component(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(_has_component(one) for one in value.values())
    return isinstance(value, list | tuple) and any(_has_component(one) for one in value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(one) for one in value)
    return value is None or isinstance(value, bool | int | float | str)


def _put(found: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        found = found.setdefault(key, {})
    found[path[-1]] = value
