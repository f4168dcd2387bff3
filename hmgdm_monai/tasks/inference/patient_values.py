"""What models of patients give for the tiles of a slide, and for entities within a tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.features_file import Features
from hmgdm_monai.saving.patient_file import PatientModel
from hmgdm_monai.tasks.inference.maps import Quantity
from hmgdm_monai.tasks.inference.quantities import present
from hmgdm_monai.transforms.tile_graph import TileGraph, edge_lengths

ATTENTION = ("attention", "attention (1 = even share)")  # name and label
Named = tuple[str, str, tuple[float, float] | None]  # name, label and fixed span of a quantity


@dataclass(frozen=True)
class PatientValues:
    """Values of the M tiles of a slide, the mean over models.

    Attributes:
        attention: (M,) weight of each tile times M, so that 1 is an even share.
        prediction: (M, C) prediction for each tile on its own.
        outputs: (M, K) outputs of each model.
        slopes: (K, M, S) of each model: derivative of the sum of an output over all tiles with respect to the
            embedding of each tile; empty if not asked for.
        models: the models.
    """

    attention: np.ndarray
    prediction: np.ndarray
    outputs: tuple[np.ndarray, ...]
    slopes: tuple[np.ndarray, ...]
    models: tuple[PatientModel, ...]

    def of_entities(self, tile: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Predictions (N, C) for entities, each output followed to first order from the tile to the entity.

        The mean of an output over the entities of a tile is the output of the tile, if their mean change is zero.

        Args:
            tile: (N,) tile of each entity.
            change: (N, S) embedding of each entity minus that of its tile.
        """
        found = []
        for model, outputs, slopes in zip(self.models, self.outputs, self.slopes, strict=True):
            steps = [np.einsum("ns,ns->n", change, slope[tile]) for slope in slopes]
            found.append(_predicted(model, outputs[tile] + np.stack(steps, 1)))
        return np.asarray(np.mean(found, 0))


def joined(found: Sequence[tuple[int, PatientValues]]) -> PatientValues:
    """Values of single tiles, which may come from several bags, as one.

    Args:
        found: index of each tile in its bag, and the values of the bag.
    """
    models = found[0][1].models
    return PatientValues(
        np.array([values.attention[place] for place, values in found]),
        np.stack([values.prediction[place] for place, values in found]),
        tuple(np.stack([values.outputs[m][place] for place, values in found]) for m in range(len(models))),
        tuple(np.stack([values.slopes[m][:, place] for place, values in found], 1) for m in range(len(models))),
        models,
    )


def patient_values(
    models: Sequence[PatientModel],
    features: np.ndarray,
    coords: np.ndarray,
    device: torch.device | str,
    slopes: bool = False,
) -> PatientValues:
    """Compute the values of a slide, which is treated as a patient of its own.

    Args:
        models: models of one run, one or the folds of an ensemble; they are moved to ``device``.
        features: (M, S) embeddings of the tiles.
        coords: (M, 2) level-0 upper left corners, for models that read a graph of tiles.
        device: device of the models.
        slopes: whether to compute derivatives, for maps of entities: 4 K M S bytes for each model.

    Raises:
        InputError: a model was trained on features of another size.
    """
    bag = Data(x=torch.from_numpy(features))
    if models[0].network.uses_graph:
        graph = TileGraph(**(models[0].about.get("graph") or {}))
        edges = graph(features, coords)
        bag.edge_index, bag.edge_length = torch.from_numpy(edges), torch.from_numpy(edge_lengths(edges, coords))
    batch = Batch.from_data_list([bag]).to(device)
    attentions, predictions, outputs, derivatives = [], [], [], []
    for model in models:
        network = model.network.to(device).requires_grad_(False)
        model.check_channels(features.shape[1])
        batch.x.requires_grad_(slopes)
        with torch.set_grad_enabled(slopes):
            found = network.tile_outputs(batch)
            if slopes:
                derivatives.append(np.stack([_slope(one, batch.x) for one in found.sum(0)]))
        with torch.no_grad():
            attentions.append(network.attention(batch).float().cpu().numpy() * len(features))
        outputs.append(found.detach().float().cpu().numpy())
        predictions.append(_predicted(model, outputs[-1]))
    means = np.mean(attentions, 0), np.mean(predictions, 0)
    return PatientValues(*means, tuple(outputs), tuple(derivatives), tuple(models))


def predicted_quantities(model: PatientModel) -> list[Named]:
    """Name, label and fixed span of each of the C predictions of a model."""
    target = model.target
    if target["kind"] in ("survival", "competing_risks"):
        return [("risk", "log risk of a tile on its own (higher = earlier death)", None)]
    column = target["column"]
    if target["kind"] == "numbers":
        return [(f"patient_{column}", f"{column} of a tile on its own", None)]
    labels = [(name, f"{column} {name}: probability of a tile on its own") for name in target["classes"]]
    return [(f"patient_{name}", label, (0.0, 1.0)) for name, label in labels]


def patient_quantities(
    models: Sequence[PatientModel], features: Features, path: Path, device: torch.device | str
) -> list[Quantity]:
    """Return attention and prediction of the tiles of a slide as quantities of a map; see :func:`patient_values`.

    Args:
        models: models of one run, one or the folds of an ensemble; they are moved to ``device``.
        features: embeddings of the slide.
        path: file of the embeddings, for messages.
        device: device of the models.

    Raises:
        InputError: a model was trained on features of another size, or the file has no coordinates.
    """
    found = patient_values(models, features.features, present(features.coords, path, "coords"), device)
    return [
        Quantity(*ATTENTION, found.attention),
        *(
            Quantity(name, label, found.prediction[:, place], span)
            for place, (name, label, span) in enumerate(predicted_quantities(models[0]))
        ),
    ]


def _slope(output: Tensor, features: Tensor) -> np.ndarray:
    """Derivative (M, S) of a sum of outputs; ``torch.autograd.grad`` does not work with recomputed layers."""
    features.grad = None
    output.backward(retain_graph=True)
    found = torch.zeros_like(features) if features.grad is None else features.grad
    return np.asarray(found.float().cpu())


def _predicted(model: PatientModel, outputs: np.ndarray) -> np.ndarray:
    """Predictions (N, C) of outputs (N, K)."""
    device = next(model.network.parameters()).device
    with torch.no_grad():
        return np.asarray(model.loss.to(device).predict(torch.from_numpy(outputs).to(device)).float().cpu())
