"""Open files of exported networks of each kind, and compute their digest."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmgdm_monai.errors import InputError

EXPORTED_SUFFIXES = (".onnx", ".pt2", ".pt", ".ts")

Run = Callable[[Tensor], Any]


def open_exported(path: Path, device: torch.device) -> Run:
    """Open a file of an exported network.

    Args:
        path: ``.pt2`` by ``torch.export``, ``.pt`` or ``.ts`` by TorchScript, or ``.onnx``.
        device: device of images and outputs. ONNX always runs on the CPU.

    Returns:
        Function from images (B, 3, S, S) float32 to the output of the network.

    Raises:
        InputError: the file holds something else, or is damaged.
    """
    openers = {".pt2": _open_program, ".onnx": _open_onnx}
    try:
        return openers.get(path.suffix, _open_script)(path, device)
    except InputError:
        raise
    except Exception as error:  # files of other programs can raise any kind of error
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"backbone {path}: cannot be opened ({reason}); export it again") from None


def exported_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, followed by those of separate weight files of an ONNX file, if any.

    Raises:
        InputError: the file does not exist or has another suffix, or separate weight files are missing.
    """
    if path.suffix not in EXPORTED_SUFFIXES:
        raise InputError(f"backbone {path}: an exported file ends in {', '.join(EXPORTED_SUFFIXES)}")
    files = [path]
    if path.suffix == ".onnx" and path.is_file():
        files += _weights_beside(path)
    sha = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as opened:
                while some := opened.read(1 << 20):
                    sha.update(some)
        except FileNotFoundError:
            raise InputError(f"backbone {path}: there is no file {file}; give the path of an exported file") from None
        except OSError as error:
            raise InputError(f"backbone {path}: {file} cannot be read ({error.strerror or error})") from None
    return sha.hexdigest()


def _open_program(path: Path, device: torch.device) -> Run:
    # Check first: torch.export.load tries older formats on unknown files, and logs all errors.
    if not any(name.endswith("models/model.json") for name in _entries(path)):
        raise InputError(f"backbone {path}: holds no program of torch.export; save it with torch.export.save")
    program = torch.export.load(path)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program.module()


def _open_script(path: Path, device: torch.device) -> Run:
    if not any(name.endswith("constants.pkl") for name in _entries(path)):
        raise InputError(
            f"backbone {path}: holds no TorchScript (perhaps only weights); export the network, see docs/backbones.md"
        )
    return torch.jit.load(path, map_location=device).eval()


def _open_onnx(path: Path, device: torch.device) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised anyway
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    takes = [f"{one.name} {one.type}" for one in session.get_inputs()]
    if len(takes) != 1 or not takes[0].endswith("tensor(float)"):
        raise InputError(f"backbone {path}: takes {', '.join(takes)}; wanted one input (B, 3, S, S) of float32")
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> tuple[Tensor, ...]:
        found = session.run(None, {name: images.cpu().contiguous().numpy()})
        return tuple(torch.from_numpy(one).to(device) for one in found)

    return run


def _entries(path: Path) -> list[str]:
    """Names in an archive; empty if the file is not an archive."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _weights_beside(path: Path) -> list[Path]:
    """Files in which an ONNX file stores weights that are too large for itself, sorted by name."""
    import onnx

    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except Exception:  # not ONNX: opening it will raise
        return []
    places = {
        entry.value
        for tensor in tensors
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / place for place in sorted(places)]
