"""The values that a type permits, in words, for messages and docs."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from hmgdm_monai.tasks.configs.settings.types import Ascending, Choices, Phrase, one_of


def allowed(annotation: Any) -> str:
    """Return the values that a type permits, such as "a whole number, at least 1".

    Args:
        annotation: the type, with its range as metadata.
    """
    base, metadata = split_annotated(annotation)
    for one in metadata:
        if isinstance(one, Phrase):
            return one.text
        if isinstance(one, Choices):
            return one_of(one.names())
    origin, arguments = get_origin(base), get_args(base)
    if origin is Literal:
        return one_of([str(one) for one in arguments])
    if origin in (Union, types.UnionType):
        options = list(dict.fromkeys("null" if one is type(None) else allowed(one) for one in arguments))
        return ", or ".join(options) if any(", " in one for one in options) else one_of(options)
    if origin is tuple and Ellipsis not in arguments:
        order = ", in ascending order" if any(isinstance(one, Ascending) for one in metadata) else ""
        return f"a list of {len(arguments)} values{order}, each {one_of(list(dict.fromkeys(map(allowed, arguments))))}"
    if origin in (list, tuple) or origin is not None and issubclass(origin, Sequence):
        return f"a list, each value {allowed(arguments[0])}"
    if base in _SIMPLE:
        return _SIMPLE[base]
    if base in (int, float):
        return _number("a whole number" if base is int else "a number", metadata)
    return "a mapping" if dict in (base, origin) else f"a {getattr(base, '__name__', base)}"


_SIMPLE: dict[Any, str] = {bool: "true or false", str: "a text", Any: "any value"}


def split_annotated(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without its metadata, and the metadata.

    Args:
        annotation: any type.
    """
    if get_origin(annotation) is Annotated:
        return annotation.__origin__, annotation.__metadata__
    return annotation, ()


def _number(kind: str, metadata: Sequence[Any]) -> str:
    steps = "".join(f", a multiple of {one.multiple_of}" for one in metadata if isinstance(one, MultipleOf))
    lower = [f"at least {one.ge}" if isinstance(one, Ge) else f"above {one.gt}" for one in metadata if _is_lower(one)]
    upper = [f"at most {one.le}" if isinstance(one, Le) else f"below {one.lt}" for one in metadata if _is_upper(one)]
    bounds = " and ".join(lower + upper)
    return f"{kind}{steps}" + (f", {bounds}" if bounds else "")


def _is_lower(one: Any) -> bool:
    return isinstance(one, Ge | Gt)


def _is_upper(one: Any) -> bool:
    return isinstance(one, Le | Lt)
