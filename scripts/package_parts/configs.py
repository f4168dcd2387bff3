"""Configs as they stand in a bundle that brings its own package along."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from hmgdm_monai.errors import InputError

PACKAGE = "hmgdm_monai"
IMPORTS = ("imports", "+imports")
# What the configs look for where our own runs leave it, and where it lies in a bundle.
MODELS = {
    "runs/classification/finetune/checkpoints/classifier_fold0.pt": (
        "$os.path.join(@bundle_root, 'models', 'classifier.pt')"
    ),
}


def packed_configs(configs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Configs that find their package and their models under ``bundle_root``, wherever they are run from.

    MONAI resolves all imports of a config before anything else, and adds the bundle to Python's path only when it runs.
    So what comes from our package is no import here but an item of its name, found when it is first asked for, and
    ``initialize`` adds the bundle to the path before that.

    Args:
        configs: file name -> content. Overrides may use what another file imports.

    Raises:
        InputError: an import has the name of an item.
    """
    lines = [line for config in configs.values() for key in IMPORTS for line in config.get(key, []) if _is_ours(line)]
    names = {_name(line) for line in lines}
    for file, config in configs.items():
        for name in sorted(names & config.keys()):
            raise InputError(f"{file}: {name!r} is imported and is an item as well; rename one")
    return {file: _packed(config, names) for file, config in configs.items()}


def _packed(config: dict[str, Any], names: set[str]) -> dict[str, Any]:
    imports: dict[str, Any] = {}
    ours: dict[str, str] = {}
    for key in IMPORTS:
        if key in config:
            theirs = [line for line in config[key] if not _is_ours(line)]
            imports[key] = list(dict.fromkeys([*theirs, "$import os", "$import sys", "$import importlib"]))
            ours |= {_name(line): _lookup(line) for line in config[key] if _is_ours(line)}
    packed = {key: _referring(value, names) for key, value in config.items() if key not in IMPORTS}
    if "bundle_root" in packed:
        packed["bundle_root"] = "."
    if "initialize" in packed:
        packed["initialize"] = ["$sys.path.insert(0, os.path.abspath(@bundle_root))", *packed["initialize"]]
    return {**imports, **ours, **packed}


def packed_metadata(
    metadata: dict[str, Any], tile_size_px: int, embedding_size: int, classes: tuple[str, ...]
) -> dict[str, Any]:
    """The metadata with what the networks of inference.json take and give.

    Args:
        metadata: content of bundle/configs/metadata.json.
        tile_size_px: side of the tiles.
        embedding_size: S, channels that the encoder gives.
        classes: names of those that the classifier scores.
    """
    packed = json.loads(json.dumps(metadata))
    formats = packed["network_data_format"]
    formats["inputs"]["image"]["spatial_shape"] = [tile_size_px, tile_size_px]
    formats["outputs"]["pred"]["num_channels"] = embedding_size
    formats["post_processed_outputs"]["scores"] |= {
        "num_channels": len(classes),
        "channel_def": {str(place): name for place, name in enumerate(classes)},
    }
    return packed


def write_config(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as the Zoo wants it, indented by 4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4) + "\n")


def _is_ours(line: str) -> bool:
    return line.startswith(f"$from {PACKAGE}")


def _name(line: str) -> str:
    return line.split()[-1]


def _lookup(line: str) -> str:
    """The expression that stands for ``$from module import name``."""
    _, module, _, name = line.split()
    folder = importlib.util.find_spec(module).submodule_search_locations
    if folder and importlib.util.find_spec(f"{module}.{name}") is not None:
        return f"$importlib.import_module('{module}.{name}')"
    return f"$importlib.import_module('{module}').{name}"


def _referring(value: Any, names: set[str]) -> Any:
    """The value with ``name`` turned into ``@name`` in every expression, and models looked for in the bundle."""
    if isinstance(value, dict):
        return {key: _referring(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_referring(one, names) for one in value]
    if isinstance(value, str) and value.startswith("$"):
        for name in names:
            value = re.sub(rf"(?<![\w.@:#'\"]){name}(?![\w'\"])", f"@{name}", value)
    return MODELS.get(value, value) if isinstance(value, str) else value
