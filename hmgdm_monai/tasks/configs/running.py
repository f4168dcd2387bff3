"""The config that is running, for what a config names."""

from __future__ import annotations

import sys
from types import FrameType

from monai.bundle import ConfigParser

from hmgdm_monai.errors import InputError


def running_config() -> ConfigParser:
    """The parser that is just building the object, or evaluating the expression, that asks.

    MONAI hands what a config names no reference to that config, so the parser is sought among the callers.

    Raises:
        InputError: no config is running.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigParser) and frame.f_code.co_name == "get_parsed_content":
            return owner
        frame = frame.f_back
    raise InputError("no config is running: name this in a config, and run that by python -m monai.bundle run")
