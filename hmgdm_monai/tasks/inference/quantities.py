"""Values of tiles that slide maps show: principal component, attention and risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.features_file import Features, read_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.survival_file import SurvivalModel
from hmgdm_monai.tasks.inference.maps import Quantity
from hmgdm_monai.transforms.tile_graph import TileGraph

ATTENTION = ("attention", "attention (1 = even share)")  # name and label
RISK = ("risk", "log risk of a tile on its own (higher = earlier death)")
TILES_FOR_AXIS = 1000  # number of tiles per slide that the principal axis is fitted to


@dataclass(frozen=True)
class TileValues:
    """What a survival model gives for the M tiles of a slide.

    Attributes:
        attention: (M,) weight of each tile times M, so that 1 is an even share.
        risk: (M,) log risk of each tile on its own.
        slope: (M, S) derivative of the risks of all tiles with respect to the embedding of each.
    """

    attention: np.ndarray
    risk: np.ndarray
    slope: np.ndarray


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


def survival_values(
    model: SurvivalModel, features: np.ndarray, coords: np.ndarray, device: torch.device | str
) -> TileValues:
    """Return attention and risk of the tiles of a slide; the slide is treated as a patient of its own.

    Args:
        model: survival model; it is moved to ``device``.
        features: (M, S) embeddings of the tiles.
        coords: (M, 2) level-0 upper left corners, for a model that reads a graph of tiles.
        device: device of the model.

    Raises:
        InputError: the model was trained on features of another size.
    """
    network = model.network.to(device)
    if features.shape[1] != network.standardizer.mean.shape[0]:
        raise InputError(
            f"the survival model needs features of {network.standardizer.mean.shape[0]} channels, but the embeddings "
            f"have {features.shape[1]}; give a survival model that was trained on this encoder"
        )
    bag = Data(x=torch.from_numpy(features))
    if network.uses_graph:
        graph = TileGraph(**(model.about.get("graph") or {}))
        bag.edge_index = torch.from_numpy(graph(features, coords))
    batch = Batch.from_data_list([bag]).to(device)
    with torch.inference_mode():
        weights = network.attention(batch).float().cpu().numpy()
    with torch.enable_grad():
        batch.x.requires_grad_(True)
        risk = model.loss.to(device).risk(network.tile_outputs(batch)).reshape(-1)
        (slope,) = torch.autograd.grad(risk.sum(), batch.x)
    return TileValues(weights * len(weights), risk.detach().float().cpu().numpy(), slope.float().cpu().numpy())


def survival_quantities(
    model: SurvivalModel, features: Features, path: Path, device: torch.device | str
) -> list[Quantity]:
    """Return attention and risk of the tiles of a slide as quantities of a map; see :func:`survival_values`.

    Args:
        model: survival model; it is moved to ``device``.
        features: embeddings of the slide.
        path: file of the embeddings, for messages.
        device: device of the model.

    Raises:
        InputError: the model was trained on features of another size, or the file has no coordinates.
    """
    found = survival_values(model, features.features, present(features.coords, path, "coords"), device)
    return [Quantity(*ATTENTION, found.attention), Quantity(*RISK, found.risk)]


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
