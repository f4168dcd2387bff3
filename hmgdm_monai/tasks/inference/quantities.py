"""Values of tiles that slide maps show: the principal component of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Batch

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.transforms.entity_cutter import NoEntitiesError
from hmgdm_monai.transforms.quality import LeftOutTileError

TILES_FOR_AXIS = 1000  # number of tiles per slide that the principal axis is fitted to


def principal_axis(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (S,) and first principal axis (S,) of the embeddings; the largest entry of the axis is positive.

    Args:
        paths: files of embedded slides.
    """
    parts = []
    for path in paths:
        features = read_features(path).features
        parts.append(features[:: -(-len(features) // TILES_FOR_AXIS)])
    pooled = np.concatenate(parts)
    mean = pooled.mean(0)
    axis = np.linalg.eigh(np.atleast_2d(np.cov((pooled - mean).T)))[1][:, -1] if len(pooled) > 1 else 0 * mean
    return mean, axis * (np.sign(axis[np.abs(axis).argmax()]) or 1.0)


def embedding_size(encoder: TileEncoder) -> int | None:
    """Return the size S of the embeddings, found with a tile of noise; None if the encoder does not take that.

    Args:
        encoder: tile encoder.
    """
    side = encoder.tile_size_px or 256
    noise = np.random.default_rng(0).integers(0, 256, (3, side, side), np.uint8)
    try:
        sample = encoder.to_sample(noise)
    except (NoEntitiesError, LeftOutTileError):
        return None
    batch = Batch.from_data_list([sample]).to(next(encoder.parameters()).device)
    with torch.inference_mode():
        return int(encoder.eval()(batch).shape[1])


def present(values: np.ndarray | None, path: Path, name: str) -> np.ndarray:
    """Return a data set that every file of an embedded slide must have.

    Args:
        values: content of the data set; None if the file lacks it.
        path: file of the embeddings.
        name: name of the data set.

    Raises:
        InputError: the file lacks the data set.
    """
    if values is None:
        raise InputError(f"{path}: has no {name}; remove the file and run inference again")
    return values
