"""JSON as a tensor of bytes, so that a description can be stored among the tensors of a state dict."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor


def json_to_tensor(content: Any) -> Tensor:
    """Encode JSON text as a tensor.

    Args:
        content: JSON values: mappings, lists, strings, numbers, None.

    Returns:
        (N,) uint8, the UTF-8 bytes of the text.

    Raises:
        TypeError: ``content`` holds another type.
    """
    return torch.frombuffer(bytearray(json.dumps(content, ensure_ascii=False).encode()), dtype=torch.uint8)


def tensor_to_json(value: Any) -> Any:
    """Decode a tensor of :func:`json_to_tensor`.

    Args:
        value: (N,) uint8, on any device.

    Raises:
        ValueError: the tensor has another type or shape, or its text is not JSON.
    """
    if not isinstance(value, Tensor) or value.dtype != torch.uint8 or value.ndim != 1:
        raise ValueError("a description must be a tensor (N,) of uint8")
    try:
        return json.loads(value.detach().cpu().numpy().tobytes().decode())
    except RecursionError as error:
        raise ValueError("a description is nested too deeply") from error
