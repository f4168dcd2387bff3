"""Model files: the state dict of a network, with a description of the network as PyTorch's extra state.

``network.load_state_dict(torch.load(path, weights_only=True))`` loads such a file, and MONAI loads it too. The
description is a tensor of JSON bytes under the name :data:`DESCRIPTION`, because MONAI's ``copy_model_state`` needs the
shape of every entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.data.files.json_tensor import json_to_tensor, tensor_to_json
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.declared_size import check_declared_size

FORMAT = 4
DESCRIPTION = "_extra_state"  # PyTorch's name for the result of get_extra_state
OLD_FORMATS = ("format", "classifier_format")  # names of the format number in files before format 4

# What the constructor of a network, or load_state_dict, may raise for invalid settings.
BAD_SETTINGS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class ModelFile(NamedTuple):
    """Content of a model file.

    Attributes:
        description: what the network is built from, without content, format and digest.
        state: state dict of the network, including its own description.
    """

    description: dict[str, Any]
    state: dict[str, Tensor]


def write_model(path: Path | str, content: str, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a model file, completely or not at all.

    Args:
        path: path of the file.
        content: kind of content, such as "encoder"; :func:`read_model` checks it.
        state: state dict of the network. An entry :data:`DESCRIPTION` is replaced.
        description: what the network is built from, as values that JSON can store.
    """
    tensors = {name: value.detach().cpu() for name, value in state.items() if name != DESCRIPTION}
    # Converted to JSON and back, so that the digest is that of the values that are read.
    stored = json.loads(json.dumps({"content": content, "format": FORMAT, **description}))
    stored["sha256"] = _digest(stored, tensors)
    write_checkpoint(path, {**tensors, DESCRIPTION: json_to_tensor(stored)})


def read_model(path: Path | str, content: str, advice: str) -> ModelFile:
    """Read a model file and check its digest.

    Args:
        path: path of the file.
        content: kind of content that the file must have.
        advice: what the user can do if it has another content, as the end of a sentence.

    Raises:
        InputError: the file is missing, damaged, or of another content or format.
    """
    saved = read_checkpoint(path)
    if not isinstance(saved, dict):
        raise InputError(f"{path}: is no {content}; {advice}")
    if DESCRIPTION not in saved:
        old = [saved[name] for name in OLD_FORMATS if isinstance(saved.get(name), int)]
        if old:
            raise InputError(
                f"{path}: is a model file of format {old[0]}, this version reads format {FORMAT}; train again, "
                "or use the model of the bundle"
            )
        raise InputError(f"{path}: is no {content}, since it has no description; {advice}")
    with refused(path, advice):
        description = tensor_to_json(saved[DESCRIPTION])
        found, number = description.pop("content"), description.pop("format")
        if number != FORMAT:
            raise InputError(f"{path}: is of format {number}, this version reads format {FORMAT}; {advice}")
        digest = description.pop("sha256")
        tensors = {name: value for name, value in saved.items() if name != DESCRIPTION}
        if digest != _digest({"content": found, "format": number, **description}, tensors):
            raise InputError(f"{path}: is damaged, its content has another SHA-256 than the file states; copy it again")
        if found != content:
            raise InputError(f"{path}: holds a model of another kind: {found}, not {content}; {advice}")
    return ModelFile(description, saved)


def build_model(path: Path | str, build: Callable[[], nn.Module], state: Mapping[str, Tensor], advice: str) -> Any:
    """Build a network and load its weights.

    Args:
        path: path of the file that the state comes from, for messages.
        build: builds the network; it is called on the meta device first.
        state: state dict of :func:`read_model`.
        advice: what the user can do if network and weights do not match, as the end of a sentence.

    Returns:
        The network, on the CPU, in evaluation mode.

    Raises:
        InputError: the settings are invalid, declare a network much larger than the file, or do not match the weights.
    """
    with refused(path, advice):
        check_declared_size(build, state)
        network = build()
        wanted = network.state_dict().keys()
        held = {name: value for name, value in state.items() if name != DESCRIPTION or name in wanted}
        for names, fault in ((wanted - held.keys(), "lacks"), (held.keys() - wanted, "has no place for")):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise InputError(f"{path}: {fault} the weights {min(names)}{more}; {advice}")
        network.load_state_dict(held)
    return network.eval()


def rewrite_model(source: Path | str, target: Path | str, change: Callable[[Any], Any]) -> None:
    """Copy a model file with changed descriptions.

    Args:
        source: file to copy.
        target: file to write, completely or not at all.
        change: maps a description to the new one; called for the network and for each of its parts.

    Raises:
        InputError: ``source`` is no model file.
    """
    saved = read_checkpoint(source)
    with refused(source, "give a model file of a training"):
        state = {
            name: json_to_tensor(change(tensor_to_json(value))) if name.split(".")[-1] == DESCRIPTION else value
            for name, value in saved.items()
        }
        description = tensor_to_json(state[DESCRIPTION])
        rest = {name: value for name, value in description.items() if name not in ("content", "format", "sha256")}
        content = description["content"]
    write_model(target, content, state, rest)


@contextmanager
def refused(path: Path | str, advice: str) -> Iterator[None]:
    """Turn exceptions caused by invalid settings into one line for the user that names the file."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        # PyTorch's own messages, which some of these contain, may be a page long.
        raise InputError(f"{path}: {' '.join(str(error).split())[:300]}") from error
    except BAD_SETTINGS as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: is damaged, or of another version ({reason}); {advice}") from error


def _digest(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a description and of tensors: names, types, shapes and bytes."""
    sha = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sha.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
