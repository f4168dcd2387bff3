"""Methods that fit one fold of classification: linear probe, nearest neighbors, fine-tuning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.class_weights import class_weights
from hmgdm_monai.metrics.classification import classification_metrics
from hmgdm_monai.metrics.linear_probe import STRENGTHS, fit_probe
from hmgdm_monai.networks.classifiers.embedding_heads import LinearHead, NearestNeighborHead
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
from hmgdm_monai.saving.classifier_file import build_classifier
from hmgdm_monai.tasks.folds import Fold
from hmgdm_monai.tasks.tiles.data import ClassificationData


@dataclass(frozen=True)
class FittedFold:
    """The result of fitting a fold.

    Attributes:
        network: maps prepared samples to logits.
        settings: settings of its head.
        chosen: settings that the inner validation chose, by name.
        history: one dictionary of numbers per epoch; empty for methods without epochs.
    """

    network: TileClassifier
    settings: Mapping[str, Any]
    chosen: Mapping[str, float]
    history: Sequence[Mapping[str, float]] = field(default_factory=list)


class Method(Protocol):
    """Fits a classifier on the training split of a fold and chooses settings on its validation split.

    It never reads the test split.
    """

    mode: str

    def check(self, fold: Fold) -> None:
        """Refuse wrong settings before any work."""
        ...

    def fit(self, data: ClassificationData, fold: Fold) -> FittedFold:
        """Fit one fold."""
        ...


class LinearProbe:
    """Logistic regression with balanced class weights on frozen embeddings.

    The inverse regularization C is chosen on the validation split. The model is then fitted to training and validation.

    Args:
        strengths: values of C to choose from.
    """

    mode = "linear"

    def __init__(self, strengths: Sequence[float] = STRENGTHS) -> None:
        self.strengths = tuple(strengths)

    def check(self, fold: Fold) -> None:
        """Do nothing: the constructor has checked the settings."""

    def fit(self, data: ClassificationData, fold: Fold) -> FittedFold:
        """Fit one fold."""
        both = np.concatenate((fold.train, fold.val))
        inner = (np.arange(len(fold.train)), np.arange(len(fold.train), len(both)))
        with warnings.catch_warnings():
            # A probe that has not converged is still valid.
            warnings.filterwarnings("ignore", module="sklearn")
            pipeline, strength = fit_probe(data.embeddings[both], data.labels[both], [inner], self.strengths)
        settings = {"num_features": data.embeddings.shape[1], "num_classes": len(data.classes)}
        network = build_classifier(data.pretrained.encoder, self.mode, settings)
        cast(LinearHead, network.head).set(*_one_linear_map(pipeline))
        return FittedFold(network, settings, {"strength": strength})


class NearestNeighbors:
    """k nearest neighbors of frozen embeddings; all classes have the same weight.

    The number of neighbors is chosen on the validation split. The classifier then stores training and validation.

    Args:
        neighbors: numbers of neighbors to choose from.
        temperature: temperature of the votes.
    """

    mode = "knn"

    def __init__(self, neighbors: Sequence[int] = (1, 5, 10, 20, 50), temperature: float = 0.07) -> None:
        if not neighbors or min(neighbors) < 1 or temperature <= 0:
            raise InputError(
                f"knn: neighbors {list(neighbors)} must be at least 1, and temperature {temperature} above 0"
            )
        self.neighbors, self.temperature = tuple(neighbors), temperature

    def check(self, fold: Fold) -> None:
        """Do nothing: the constructor has checked the settings."""

    def fit(self, data: ClassificationData, fold: Fold) -> FittedFold:
        """Fit one fold."""

        def scored(count: int) -> float:
            network, _ = self._remember(data, fold.train, count)
            logits = network.head(torch.from_numpy(data.embeddings[fold.val])).softmax(1).numpy()
            return classification_metrics(data.labels[fold.val], logits, data.classes)["balanced_accuracy"]

        # If two numbers score the same, take the larger one, because its predictions vary less.
        best = max(self.neighbors, key=lambda count: (scored(count), count))
        network, settings = self._remember(data, np.concatenate((fold.train, fold.val)), best)
        return FittedFold(network, settings, {"neighbors": best})

    def _remember(
        self, data: ClassificationData, indices: np.ndarray, count: int
    ) -> tuple[TileClassifier, dict[str, Any]]:
        settings = {
            "num_features": data.embeddings.shape[1],
            "num_classes": len(data.classes),
            "num_examples": len(indices),
            "neighbors": count,
            "temperature": self.temperature,
        }
        network = build_classifier(data.pretrained.encoder, self.mode, settings)
        labels = data.labels[indices]
        weights = class_weights(labels, len(data.classes))
        head = cast(NearestNeighborHead, network.head)
        head.set(torch.from_numpy(data.embeddings[indices]), torch.from_numpy(labels), weights)
        return network, settings


def _one_linear_map(pipeline: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (K, S) and bias (K,) of standardization and logistic regression combined."""
    scaler, regression = pipeline[0], pipeline[-1]
    weight, bias = regression.coef_ / scaler.scale_, regression.intercept_
    bias = bias - weight @ scaler.mean_
    if len(weight) == 1:  # for two classes, scikit-learn stores only the logit of the second
        weight, bias = np.concatenate((0 * weight, weight)), np.concatenate((0 * bias, bias))
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()
