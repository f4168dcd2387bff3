"""Values of tiles that slide maps show: principal component, attention and risk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.features_file import Features, read_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.patient_file import PatientModel
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


def patient_quantities(
    models: Sequence[PatientModel], features: Features, path: Path, device: torch.device | str
) -> list[Quantity]:
    """Return attention and prediction of the tiles of a slide, the mean over models.

    The slide is treated as a patient of its own; a tile's prediction is what its own state gives.

    Args:
        models: models of one run, one or the folds of an ensemble; they are moved to ``device``.
        features: embeddings of the slide.
        path: file of the embeddings, for messages.
        device: device of the models.

    Raises:
        InputError: a model was trained on features of another size, or the file has no coordinates.
    """
    bag = Data(x=torch.from_numpy(features.features))
    if models[0].network.uses_graph:
        graph = TileGraph(**(models[0].about.get("graph") or {}))
        coords = present(features.coords, path, "coords")
        edges = graph(features.features, coords)
        bag.edge_index, bag.edge_length = torch.from_numpy(edges), torch.from_numpy(edge_lengths(edges, coords))
    batch = Batch.from_data_list([bag]).to(device)
    weights, predictions = [], []
    for model in models:
        network = model.network.to(device)
        if features.features.shape[1] != network.standardizer.mean.shape[0]:
            raise InputError(
                f"the model of patients needs features of {network.standardizer.mean.shape[0]} channels, but the "
                f"embeddings have {features.features.shape[1]}; give a model that was trained on this encoder"
            )
        with torch.inference_mode():
            weights.append(network.attention(batch).float().cpu().numpy())
            predictions.append(model.loss.to(device).predict(network.tile_outputs(batch)).float().cpu().numpy())
    weight, prediction = np.mean(weights, 0), np.mean(predictions, 0)
    found = [Quantity("attention", "attention (1 = even share)", weight * len(weight))]
    target = models[0].target
    if target["kind"] in ("survival", "competing_risks"):
        label = "log risk of a tile on its own (higher = earlier death)"
        return [*found, Quantity("risk", label, prediction[:, 0])]
    column = target["column"]
    if target["kind"] == "numbers":
        return [*found, Quantity(f"patient_{column}", f"{column} of a tile on its own", prediction[:, 0])]
    return found + [
        Quantity(f"patient_{name}", f"{column} {name}: probability of a tile on its own", prediction[:, place], (0, 1))
        for place, name in enumerate(target["classes"])
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
