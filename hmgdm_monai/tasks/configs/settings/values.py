"""Check one value against its type."""

from __future__ import annotations

import difflib
import json
from functools import cache
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hmgdm_monai.tasks.configs.settings.phrases import allowed, split_annotated
from hmgdm_monai.tasks.configs.settings.types import Choices

_CONFIG = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
_MOST_CHARACTERS = 80


class WrongValueError(ValueError):
    """A value that its type does not permit; the message says what is permitted."""


def checked(value: Any, annotation: Any) -> Any:
    """Return a value as JSON, converted where a text stands for a number, a truth value or null.

    Args:
        value: as the config or the command line gives it.
        annotation: its type, with its range as metadata.

    Raises:
        WrongValueError: the type does not permit it.
    """
    try:
        return _as_json(_adapter(annotation).validate_python(value))
    except ValidationError:
        near = _nearest(value, annotation)
        raise WrongValueError(f"must be {allowed(annotation)}, not {shown(value)}{near}") from None


def shown(value: Any) -> str:
    """Return a value as the command line or a JSON file has it, shortened if it is long."""
    text = value if isinstance(value, str) and value else json.dumps(value, default=str)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=_CONFIG)


def _as_json(value: Any) -> Any:
    return [_as_json(one) for one in value] if isinstance(value, tuple | list) else value


def _nearest(value: Any, annotation: Any) -> str:
    """Return "; did you mean ...?" if the value is near a permitted name."""
    if not isinstance(value, str):
        return ""
    near = difflib.get_close_matches(value, _names(annotation), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _names(annotation: Any) -> list[str]:
    base, metadata = split_annotated(annotation)
    found = [name for one in metadata if isinstance(one, Choices) for name in one.names()]
    return found + [name for one in get_args(base) for name in ([one] if isinstance(one, str) else _names(one))]
