"""The encoder as an offline folder in the hub's layout: config.json, model.safetensors, README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai import __version__
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.declared_size import check_declared_size
from hmgdm_monai.saving.model_card import model_card
from hmgdm_monai.saving.model_file import BAD_SETTINGS, DESCRIPTION
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

FORMAT = 1
LIBRARY = "hmgdm_monai"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


def save_pretrained(
    encoder: TileEncoder,
    folder: Path | str,
    name: str = "encoder",
    data_statement: str | None = None,
    license: str | None = None,
) -> Path:
    """Write an encoder as a folder that can be uploaded to the Hugging Face hub.

    ``config.json`` holds kind, settings and run settings, from which the encoder is built, and the SHA-256 of the
    weights. Paths in the run settings (e.g. the manifest) are reduced to file names. ``config.json`` is written last:
    if writing is interrupted, the folder has no config, or one whose digest does not match, and :func:`from_pretrained`
    refuses it.

    Args:
        encoder: encoder of any kind; its ``description()`` and ``weights()`` are used.
        folder: output folder; created if missing. The three files in it are replaced.
        name: title of the model card.
        data_statement: what the model was trained on and who may use it, in Markdown; if None, the card says that this
            was not stated.
        license: license identifier of the hub, such as "apache-2.0"; None for "unknown".

    Returns:
        The folder.

    Raises:
        InputError: the disk is full.
    """
    from safetensors.torch import save

    folder = Path(folder)
    # safetensors does not accept views or tensors that share memory.
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in encoder.weights().items()}
    content = save(weights, metadata={"format": "pt"})
    config = {
        "library_name": LIBRARY,
        "library_version": __version__,
        "format": FORMAT,
        "kind": encoder.kind,
        "settings": encoder.settings,
        "run_settings": _without_folders(encoder.run_settings),
        "weights": WEIGHTS,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
    }
    (folder / CONFIG).unlink(missing_ok=True)
    write_whole(folder / WEIGHTS, content)
    write_whole(folder / CARD, model_card(config, len(content), name, data_statement, license).encode())
    write_whole(folder / CONFIG, (json.dumps(config, indent=4, allow_nan=False) + "\n").encode())
    return folder


def from_pretrained(folder: Path | str) -> TileEncoder:
    """Load an encoder from a folder of :func:`save_pretrained`, on the CPU, in evaluation mode.

    Nothing is downloaded: ``folder`` is a path, never the name of a repository. No code of the folder is run: weights
    are read as safetensors only, and code or pickles in the folder are not read.

    Args:
        folder: path of the folder.

    Raises:
        InputError: the folder is missing, or a file is missing, damaged, of another version, or outside the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; download the model first, nothing is downloaded here")
    config = _read_config(folder)
    weights = _read_weights(folder, config)
    try:
        arguments = config["kind"], config["settings"], config["run_settings"]
        check_declared_size(lambda: build_tile_encoder(*arguments), weights)
        encoder = build_tile_encoder(*arguments)
        encoder.load_state_dict({**weights, DESCRIPTION: encoder.get_extra_state()})
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    except BAD_SETTINGS as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{folder}: settings and weights do not fit ({reason}); download the folder again") from error
    return encoder.eval()


def _read_config(folder: Path) -> dict[str, Any]:
    path = _inside(folder, CONFIG)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not JSON, or damaged ({reason}); download the folder again") from error
    if not isinstance(config, dict) or config.get("library_name") != LIBRARY:
        raise InputError(f"{path}: is no encoder of {LIBRARY}; give a folder that scripts/export_hub.py wrote")
    if config.get("format") != FORMAT:
        raise InputError(
            f"{path}: is of format {config.get('format')!r} (written by {LIBRARY} {config.get('library_version')}), "
            f"this version reads format {FORMAT}; install the version that wrote it"
        )
    for key, kind in (("kind", str), ("settings", dict), ("run_settings", dict), ("weights", str)):
        if not isinstance(config.get(key), kind):
            raise InputError(f"{path}: has no {key}, or one of another type; download the folder again")
    return config


def _read_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not config["weights"].endswith(".safetensors"):
        raise InputError(
            f"{folder / CONFIG}: names {config['weights']!r} as weights, but weights are read as safetensors only"
        )
    path = _inside(folder, config["weights"])
    try:
        content = path.read_bytes()
        weights = load(content)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: is no safetensors file, or is damaged ({reason}); download it again") from error
    if hashlib.sha256(content).hexdigest() != config.get("weights_sha256"):
        raise InputError(f"{path}: is not the file that {CONFIG} describes (another SHA-256); download it again")
    return weights


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in the folder; refuse names and links that lead out of the folder."""
    path = folder / name
    if Path(name).name != name or path.resolve().parent != folder.resolve():
        raise InputError(f"{path}: leads out of the folder {folder}; copy the file itself into the folder")
    if not path.is_file():
        beside = sorted(one.name for one in folder.iterdir() if one.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"))
        pickles = f" ({', '.join(beside)} there is a pickle and not read)" if beside and name != CONFIG else ""
        raise InputError(f"{folder}: has no {name}{pickles}; give a folder that scripts/export_hub.py wrote")
    return path


def _without_folders(value: Any) -> Any:
    """Return the settings with file names in place of paths, because paths reveal details of the training machine."""
    if isinstance(value, Mapping):
        return {str(key): _without_folders(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(part) for part in value]
    if isinstance(value, str):
        return value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return value
