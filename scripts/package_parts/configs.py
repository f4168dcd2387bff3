"""Configs of a bundle that contains its own package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGE = "hmgdm_monai"
# Paths in the configs that point to outputs of runs, and the same files in a bundle.
MODELS = {
    "runs/classification/finetune/checkpoints/classifier_fold0.pt": (
        "$os.path.join(@bundle_root, 'models', 'classifier.pt')"
    ),
}


def packed_config(value: Any) -> Any:
    """Return a config, or a part of it, with the paths of models changed to the bundle's folder."""
    if isinstance(value, dict):
        return {key: packed_config(one) for key, one in value.items()}
    if isinstance(value, list):
        return [packed_config(one) for one in value]
    return MODELS.get(value, value) if isinstance(value, str) else value


def packed_metadata(
    metadata: dict[str, Any], tile_size_px: int, embedding_size: int, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the metadata with the inputs and outputs of the networks of inference.json.

    Args:
        metadata: content of bundle/configs/metadata.json.
        tile_size_px: side of the tiles.
        embedding_size: S, number of channels of an embedding.
        classes: class names of the classifier.
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
    """Write JSON with an indentation of 4, as the Zoo requires."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4) + "\n")
