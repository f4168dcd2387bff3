"""Model files: the state dict of a network, with a description of the network in PyTorch's own extra state.

``network.load_state_dict(torch.load(path, weights_only=True))`` loads such a file, and so does MONAI. The description
is a tensor of JSON bytes under :data:`DESCRIPTION`, since MONAI's ``copy_model_state`` asks every entry for its shape.
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
DESCRIPTION = "_extra_state"  # PyTorch's name of what get_extra_state gives
OLD_FORMATS = ("format", "classifier_format")  # where files before format 4 kept their number

# What the constructor of a network, or load_state_dict, may raise for settings that make no sense.
BAD_SETTINGS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class ModelFile(NamedTuple):
    """Content of a model file.

    Attributes:
        description: what the network is built from, without content, format and digest.
        state: of the network, its own description included.
    """

    description: dict[str, Any]
    state: dict[str, Tensor]


def write_model(path: Path | str, content: str, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a model file, whole or not at all.

    Args:
        path: of the file.
        content: what is in it, such as "encoder"; :func:`read_model` asks for it.
        state: state dict of the network. An entry :data:`DESCRIPTION` is replaced.
        description: what the network is built from, as JSON knows it.
    """
    tensors = {name: value.detach().cpu() for name, value in state.items() if name != DESCRIPTION}
    # By way of JSON, since the digest must be that of what is read.
    stored = json.loads(json.dumps({"content": content, "format": FORMAT, **description}))
    stored["sha256"] = _digest(stored, tensors)
    write_checkpoint(path, {**tensors, DESCRIPTION: json_to_tensor(stored)})


def read_model(path: Path | str, content: str, advice: str) -> ModelFile:
    """Read a model file, and check that it holds what was written.

    Args:
        path: of the file.
        content: what must be in it.
        advice: what to do where it is not, as the end of a sentence.

    Raises:
        InputError: no such file, a damaged one, or one of another content or format.
    """
    saved = read_checkpoint(path)
    if not isinstance(saved, dict):
        raise InputError(f"{path}: is no {content}; {advice}")
    if DESCRIPTION not in saved:
        old = [saved[name] for name in OLD_FORMATS if isinstance(saved.get(name), int)]
        if old:
            raise InputError(
                f"{path}: is a model file of format {old[0]}, this version reads format {FORMAT}; train again, "
                "or take the model that the bundle ships"
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
            raise InputError(f"{path}: is damaged, its content has another SHA-256 than it tells; copy it again")
        if found != content:
            raise InputError(f"{path}: holds the model of another kind: {found}, not {content}; {advice}")
    return ModelFile(description, saved)


def build_model(path: Path | str, build: Callable[[], nn.Module], state: Mapping[str, Tensor], advice: str) -> Any:
    """Build a network and load its weights.

    Args:
        path: of the file that the state is from, for messages.
        build: makes the network; called on the meta device first.
        state: of :func:`read_model`.
        advice: what to do where the two do not fit, as the end of a sentence.

    Returns:
        The network, on the CPU, in evaluation mode.

    Raises:
        InputError: the settings make no network, one far larger than the file, or one with other weights.
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
    """Copy a model file with other descriptions.

    Args:
        source: the file to copy.
        target: the file to write, whole or not at all.
        change: from a description to the one to write, of the network and of each of its parts.

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
    """Turn what settings without sense raise into one line for the user, which names the file."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    except BAD_SETTINGS as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: is damaged, or of another version ({reason}); {advice}") from error


def _digest(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a description and of tensors: names, types, shapes and bytes."""
    sha = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sha.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
