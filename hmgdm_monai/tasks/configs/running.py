"""The config that is running, for objects that it builds."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow

from hmgdm_monai.errors import InputError


def running_config() -> ConfigParser:
    """Return the parser that is building the object, or evaluating the expression, that calls this function.

    MONAI gives no reference to the config to the objects that it builds. So the parser is found among the callers.

    Raises:
        InputError: no config is running.
    """
    for frame in _callers():
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigParser) and frame.f_code.co_name == "get_parsed_content":
            return owner
    raise InputError("no config is running: use this in a config, and start it by python -m monai.bundle run")


def null_arguments() -> list[str]:
    """Return the names of settings that the command line sets to None.

    MONAI passes over them, so that the default would be used. They are found among the callers, too.
    """
    code = inspect.unwrap(create_workflow).__code__
    own = inspect.signature(ConfigWorkflow.__init__).parameters
    given: dict[str, Any] = next((frame.f_locals["kwargs"] for frame in _callers() if frame.f_code is code), {})
    return [name for name, value in given.items() if value is None and name not in own]


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back
