"""What a route of MONAI Label is called with: every argument is checked before the route sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.datastructures import UploadFile

from hmgdm_monai.errors import InputError
from lib.limits import MEGABYTE, Limits
from lib.names import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_name, check_upload
from lib.parameters import check_background, check_json, check_parameters, read_object

_JSON_FIELDS = ("params", "info", "wsi")
_CHECKSUMS = ("SHA256", "SHA512", "MD5")
_MOST_LINES = 10_000


def checked_arguments(path: str, values: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Refuse arguments that a route must not see.

    Args:
        path: of the route.
        values: its arguments by name, as FastAPI made them of the request.
        limits: settings of the server.

    Returns:
        The arguments, their JSON on one line, since MONAI Label writes it to its log.

    Raises:
        InputError: the first of them that is refused, and why.
    """
    checked = dict(values)
    for name, value in values.items():
        if isinstance(value, UploadFile):
            _check_file(name, value, limits)
        elif isinstance(value, str) and name in _JSON_FIELDS:
            content = read_object(value, name, limits.json_depth) if value else {}
            _check_parameters(path, name, content)
            checked[name] = json.dumps(content)
        elif isinstance(value, BaseModel) and name in _JSON_FIELDS:
            parameters = value.model_dump()
            check_json(parameters, name, limits.json_depth)
            _check_parameters(path, name, parameters)
        elif isinstance(value, dict):
            check_json(value, name, limits.json_depth)
            _check_parameters(path, name, value)
        elif isinstance(value, str) and value:
            _check_text(path, name, value)
        elif name == "lines" and not 0 < (value or 1) <= _MOST_LINES:
            raise InputError(f"lines must be from 1 to {_MOST_LINES}, not {value!r:.40}")
    if path.startswith("/infer/") and not values.get("image") and not values.get("file"):
        raise InputError("there is no image; name one by image=ID, or upload a file")
    return checked


def _check_file(name: str, file: UploadFile, limits: Limits) -> None:
    if name != "label":
        check_upload(file.filename, IMAGE_SUFFIXES, f"{name}: the file name")
        return
    check_upload(file.filename, LABEL_SUFFIXES, f"{name}: the file name")
    if (file.size or 0) > limits.label_mb * MEGABYTE:
        raise InputError(f"{name}: the file is larger than {limits.label_mb:g} MB (setting label_mb)")


def _check_parameters(path: str, name: str, parameters: Mapping[str, Any]) -> None:
    if path.startswith("/datastore/"):  # kept as they are; lib.datastore checks what they may say
        return
    if path.startswith(("/train/", "/batch/", "/scoring/")):
        check_background(parameters, name, nested=path in ("/train/", "/scoring/"))
        return
    check_parameters(parameters, name)
    inner = parameters.get("params")
    if name == "wsi" and isinstance(inner, dict):
        check_parameters(inner, "params of wsi")


def _check_text(path: str, name: str, value: str) -> None:
    if name == "session_id":
        raise InputError("session_id: this server keeps no sessions; upload the image with the request")
    if name == "check_sum":
        if ":" in value and value.split(":")[0] not in _CHECKSUMS:
            raise InputError(f"check_sum: must be {', '.join(_CHECKSUMS)}, a colon and the digest")
    elif name == "output":
        if path.startswith("/infer/{") and value not in ("json", "all"):
            raise InputError(f"output: this model answers classes and no {value}; ask for json")
    elif not (name == "image" and path.startswith("/infer/") and value.startswith("/")):  # the app checks paths
        check_name(value, name)
