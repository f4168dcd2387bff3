"""The config that is running, for objects that it builds."""

from __future__ import annotations

import sys
from types import FrameType

from monai.bundle import ConfigParser

from hmgdm_monai.errors import InputError


def running_config() -> ConfigParser:
    """Return the parser that is building the object, or evaluating the expression, that calls this function.

    MONAI gives no reference to the config to the objects that it builds. So the parser is found among the callers.

    Raises:
        InputError: no config is running.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigParser) and frame.f_code.co_name == "get_parsed_content":
            return owner
        frame = frame.f_back
    raise InputError("no config is running: use this in a config, and start it by python -m monai.bundle run")
