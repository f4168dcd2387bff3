"""Values of tiles that slide maps show: principal component, attention and risk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.features_file import Features, read_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.survival_file import SurvivalModel
from hmgdm_monai.tasks.inference.maps import Quantity
from hmgdm_monai.transforms.tile_graph import TileGraph, edge_lengths

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


def survival_quantities(
    model: SurvivalModel, features: Features, path: Path, device: torch.device | str
) -> list[Quantity]:
    """Return attention and risk of the tiles of a slide; the slide is treated as a patient of its own.

    Args:
        model: survival model; it is moved to ``device``.
        features: embeddings of the slide.
        path: file of the embeddings, for messages.
        device: device of the model.

    Raises:
        InputError: the model was trained on features of another size, or the file has no coordinates.
    """
    network = model.network.to(device)
    if features.features.shape[1] != network.standardizer.mean.shape[0]:
        raise InputError(
            f"the survival model needs features of {network.standardizer.mean.shape[0]} channels, but the embeddings "
            f"have {features.features.shape[1]}; give a survival model that was trained on this encoder"
        )
    bag = Data(x=torch.from_numpy(features.features))
    if network.uses_graph:
        graph = TileGraph(**(model.about.get("graph") or {}))
        coords = present(features.coords, path, "coords")
        edges = graph(features.features, coords)
        bag.edge_index, bag.edge_length = torch.from_numpy(edges), torch.from_numpy(edge_lengths(edges, coords))
    batch = Batch.from_data_list([bag]).to(device)
    with torch.inference_mode():
        weights = network.attention(batch).float().cpu().numpy()
        risk = model.loss.to(device).risk(network.tile_outputs(batch)).float().cpu().numpy()
    return [
        Quantity("attention", "attention (1 = even share)", weights * len(weights)),
        Quantity("risk", "log risk of a tile on its own (higher = earlier death)", risk.reshape(-1)),
    ]


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
