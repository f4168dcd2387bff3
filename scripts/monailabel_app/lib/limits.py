"""What a client may ask of the server: every limit is a setting, with a default."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hmgdm_monai.errors import InputError

OTHER_SETTINGS = ("bundle", "server_mode")  # of the same command line, read elsewhere
MEGABYTE = 2**20
_HOST = re.compile(r"\*|(\*\.)?[\w.-]+|\[[0-9A-Fa-f:.]+\]")  # as Starlette compares it with the request's


@dataclass(frozen=True)
class Limits:
    """Settings of ``--conf NAME VALUE``.

    Attributes:
        hosts: names or addresses under which other machines reach the server, ``*`` for any; none: only this machine
            reaches it.
        image_folders: folders outside of the studies folder from which images may be read.
        upload_mb: largest request with a file.
        label_mb: largest label file.
        request_mb: largest request without a file.
        json_depth: how deep lists and objects of JSON may be nested.
        region_tiles: most tiles of a region whose class is asked for.
        slide_tiles: most tiles of a slide.
        work_seconds: longest time for one request, and longest time that it waits for its turn.
        work_at_once: how many requests read slides at the same time.
        work_waiting: how many more may wait for their turn.
    """

    hosts: tuple[str, ...] = ()
    image_folders: tuple[Path, ...] = ()
    upload_mb: float = 512.0
    label_mb: float = 16.0
    request_mb: float = 1.0
    json_depth: int = 16
    region_tiles: int = 64
    slide_tiles: int = 100_000
    work_seconds: float = 600.0
    work_at_once: int = 1
    work_waiting: int = 16


def read_limits(conf: Mapping[str, str]) -> Limits:
    """Limits from the settings of the command line.

    Args:
        conf: name and text of each setting; ``hosts`` is separated by commas, ``image_folders`` as PATH is.

    Returns:
        The limits, with defaults for what is not set.

    Raises:
        InputError: an unknown setting, a number out of range, or a host or folder that is none.
    """
    defaults = {field.name: field.default for field in fields(Limits)}
    unknown = sorted(set(conf) - set(defaults) - set(OTHER_SETTINGS))
    if unknown:
        there = ", ".join([*OTHER_SETTINGS, *defaults])
        raise InputError(f"--conf {unknown[0]}: there is no such setting; there are: {there}")
    return Limits(**{name: _value(name, conf[name], default) for name, default in defaults.items() if name in conf})


def _value(name: str, text: str, default: Any) -> Any:
    """One setting, of the type of its default."""
    if name == "hosts":
        return tuple(_host(part.strip()) for part in text.split(",") if part.strip())
    if name == "image_folders":
        return tuple(_folder(part) for part in text.split(os.pathsep) if part)
    kind = type(default)
    try:
        number = kind(text)
    except ValueError as error:
        raise InputError(f"--conf {name}: must be a number above 0, not {text!r}") from error
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"--conf {name}: must be a number above 0, not {text!r}")
    return number


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise InputError(f"--conf hosts: {text!r} is no host; give names without port, for example slides.example.org")
    return text


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise InputError(f"--conf image_folders: {text} is no folder; name folders that are there")
    return path.resolve()
