"""Settings of the command line, NAME=VALUE, as values for a config."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any


def setting_values(settings: Sequence[str]) -> dict[str, Any]:
    """Return the values of settings NAME=VALUE by name; what is no Python literal is a plain word."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[name] = value
    return values
