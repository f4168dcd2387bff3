"""Types of arguments that no description names, from the annotations of their class or function."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import InstanceOf

from hmgdm_monai.tasks.configs.settings.types import Listed, OrNone, PathText, Real, Text, Whole

_LISTED: Any = Listed  # a type checker takes no variables as arguments of generic types
_OR_NONE: Any = OrNone
_INSTANCE_OF: Any = InstanceOf
_LEAVES: dict[Any, Any] = {int: Whole, float: Real, str: Text, Path: PathText, bool: bool, type(None): type(None)}


def argument_type(owner: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the type of an argument, or ``Any`` if its annotation says nothing that can be checked.

    Args:
        owner: class or function.
        parameter: of its signature.
    """
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = _evaluated(owner, annotation)
    found = _typed(annotation)
    if found is not Any and parameter.default is None:
        found = _OR_NONE[found]
    return found


def _evaluated(owner: Callable[..., Any], text: str) -> Any:
    function = inspect.unwrap(owner.__init__ if isinstance(owner, type) else owner)  # type: ignore[misc]
    try:
        return eval(text, dict(getattr(function, "__globals__", {})))  # the text is code of an installed package
    except (NameError, AttributeError, TypeError):  # names that only type checkers import
        return Any


def _typed(annotation: Any) -> Any:
    """Return an annotation with leaves that convert texts; ``Any`` where pydantic cannot check it."""
    if annotation in _LEAVES:
        return _LEAVES[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return annotation
    if origin in (Union, types.UnionType):
        return _union([_typed(one) for one in arguments])
    if origin is tuple and Ellipsis not in arguments:
        inner = [_typed(one) for one in arguments]
        return tuple[*inner]  # type: ignore[valid-type]
    if arguments and isinstance(origin, type) and issubclass(origin, Sequence) or origin is Iterable:
        return _LISTED[_typed(arguments[0])]
    is_class = isinstance(annotation, type) and annotation not in (Any, object, inspect.Parameter.empty)
    return _INSTANCE_OF[annotation] if is_class and not getattr(annotation, "_is_protocol", False) else Any


def _union(options: list[Any]) -> Any:
    if Any in options:
        return Any
    wanted = [one for one in options if one is not type(None)]
    wanted = [PathText] if set(wanted) == {PathText, Text} else wanted
    found = reduce(or_, wanted)
    return _OR_NONE[found] if type(None) in options else found
