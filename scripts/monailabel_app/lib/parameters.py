"""JSON of clients: how large and deep it may be, and which parameters reach a process of the server's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hmgdm_monai.errors import InputError
from lib.names import check_name

# MONAI Label puts a client's parameters into the request as they are: "bundle_path" would become a folder of code.
BACKGROUND = (
    "model",
    "strength",
    "mpp",
    "method",
    "images",
    "labels",
    "label_tag",
    "save_label",
    "device",
    "multi_gpu",
    "gpus",
    "logging",
    "max_workers",
    "max_batch_size",
    "client_id",
)
_TEXTS = ("model", "strategy", "method", "image", "measure", "label_tag", "device", "gpus", "logging", "client_id")
_COUNTS = ("max_workers", "max_batch_size")
_IMAGES = ("all", "labeled", "unlabeled")
_MOST = 10**6
_GPUS = re.compile(r"all|\d+(,\d+)*")


def read_object(text: str, what: str, most_depth: int) -> dict[str, Any]:
    """The JSON object of a form's field.

    Args:
        text: JSON.
        what: name of the field, for the error.
        most_depth: how deep it may be nested.

    Returns:
        The object.

    Raises:
        InputError: no JSON, no object, or one that :func:`check_json` refuses.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise InputError(_too_deep(what, most_depth)) from error
    except ValueError as error:
        raise InputError(f"{what}: is no JSON ({error}); give an object, for example {{}}") from error
    if not isinstance(value, dict):
        raise InputError(f"{what}: must be a JSON object, for example {{}}, not {type(value).__name__}")
    check_json(value, what, most_depth)
    return value


def check_json(value: Any, what: str, most_depth: int) -> None:
    """Refuse JSON that is nested too deep, or has text that cannot be written to a file.

    Args:
        value: as :func:`json.loads` gives it.
        what: how to call it in the error.
        most_depth: how deep it may be nested; an object without another one in it has depth 1.

    Raises:
        InputError: see above.
    """
    left = [(value, 0)]
    while left:
        part, depth = left.pop()
        if isinstance(part, str) and any("\ud800" <= letter <= "\udfff" for letter in part):
            raise InputError(f"{what}: has half a character in a text; write it as UTF-8")
        inner = [*part, *part.values()] if isinstance(part, dict) else part if isinstance(part, list | tuple) else None
        if inner is None:
            continue
        if depth == most_depth:
            raise InputError(_too_deep(what, most_depth))
        left.extend((one, depth + 1) for one in inner)


def check_parameters(parameters: Mapping[str, Any], what: str) -> None:
    """Refuse parameters of the wrong type.

    Args:
        parameters: of a request.
        what: how to call them in the error.

    Raises:
        InputError: a text that is none, a GPU or a count that is none, or a tag that is no name.
    """
    for name in _TEXTS:
        if not isinstance(parameters.get(name, ""), str):
            raise InputError(f"{what}: {name} must be a text, not {type(parameters[name]).__name__}")
    if "label_tag" in parameters:
        check_name(parameters["label_tag"], "label_tag")
    if not _GPUS.fullmatch(parameters.get("gpus", "all")):
        raise InputError(f"{what}: gpus must be all or numbers separated by commas, not {parameters['gpus']!r}")
    for name in _COUNTS:
        value = parameters.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            raise InputError(f"{what}: {name} must be a whole number from 0 to {_MOST}, not {value!r:.40}")
    skip = parameters.get("skip", [])
    if not isinstance(skip, list) or not all(isinstance(one, str) for one in skip):
        raise InputError(f"{what}: skip must be a list of image ids")


def check_background(parameters: Mapping[str, Any], what: str, nested: bool = False) -> None:
    """Refuse what must not reach a process that trains or works through the datastore.

    Args:
        parameters: of a request.
        what: how to call them in the error.
        nested: each of them may also be the parameters of one model, under its name.

    Raises:
        InputError: an unknown parameter, or one that :func:`check_parameters` refuses.
    """
    check_parameters(parameters, what)
    for name, value in parameters.items():
        if name in BACKGROUND:
            continue
        if not (nested and isinstance(value, dict)):
            raise InputError(f"{what}: there is no parameter {name!r:.40}; there are: {', '.join(BACKGROUND)}")
        check_background(value, f"{what} of {name!r:.40}")
    images = parameters.get("images", "all")
    if images not in _IMAGES and not (isinstance(images, list) and all(isinstance(one, str) for one in images)):
        raise InputError(f"{what}: images must be one of {', '.join(_IMAGES)} or a list of image ids")


def _too_deep(what: str, most_depth: int) -> str:
    return f"{what}: lists and objects are nested more than {most_depth} deep; flatten them (setting json_depth)"


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
