"""Configs as they stand in a bundle that brings its own package along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACKAGE = "hmgdm_monai"
# What the configs look for where our own runs leave it, and where it lies in a bundle.
MODELS = {
    "runs/classification/finetune/checkpoints/classifier_fold0.pt": (
        "$os.path.join(@bundle_root, 'models', 'classifier.pt')"
    ),
}


def packed_config(value: Any) -> Any:
    """A config, or a part of one, that looks for models in the bundle; all else is as it was."""
    if isinstance(value, dict):
        return {key: packed_config(one) for key, one in value.items()}
    if isinstance(value, list):
        return [packed_config(one) for one in value]
    return MODELS.get(value, value) if isinstance(value, str) else value


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
