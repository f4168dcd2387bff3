"""Taking submitted labels into a classifier: its last linear layer moves, or its neighbors become more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.networks.classifiers.embedding_heads import NearestNeighborHead
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
from hmgdm_monai.saving.classifier_file import build_classifier

BATCH_TILES = 32


def refitted(
    network: TileClassifier,
    mode: str,
    settings: Mapping[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    strength: float = 1.0,
) -> tuple[TileClassifier, dict[str, Any]]:
    """A classifier of the same mode that has learned from labeled tiles; its encoder stays as it is.

    "linear" and "finetune": :func:`moved_layer` of the last layer. "knn": the tiles join those remembered, each with
    the weight of its class.

    Args:
        network: trained, on its device; it is not changed.
        mode: of it.
        settings: that its head was built from.
        images: (B, 3, S, S) uint8.
        labels: (B,) indices of classes.
        strength: see :func:`moved_layer`; of no effect on "knn".

    Returns:
        The new classifier in evaluation mode, and the settings of its head.
    """
    device = next(network.encoder.parameters()).device
    settings = dict(settings)
    target = torch.as_tensor(labels, dtype=torch.long, device=device)
    inputs = torch.cat([_head_inputs(network, mode, part, device) for part in _batches(images)])
    if mode == "knn":
        settings["num_examples"] += len(inputs)
    new = build_classifier(network.encoder, mode, settings).to(device).eval()
    if mode == "knn":
        new.encoder.load_state_dict(network.encoder.state_dict())
        _remember_more(new.head, network.head, inputs, target)
        return new, settings
    new.load_state_dict(network.state_dict())
    layer = new.head if mode == "linear" else new.head[-1]
    with torch.no_grad():
        weight, bias = moved_layer(layer.weight, layer.bias, inputs, target, strength)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return new, settings


def moved_layer(weight: Tensor, bias: Tensor, inputs: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """The linear layer that explains labels and stays close to a given one.

    It minimizes ``strength * sum of cross entropies + |r (W - W0)|^2 / 2 + |b - b0|^2 / 2``, r the root mean square of
    the inputs: logistic regression whose prior is the layer itself in place of 0. Few labels move it little, and labels
    of one class alone are no harm. The problem is convex, so the result does not depend on chance.

    Args:
        weight: W0 (K, S).
        bias: b0 (K,).
        inputs: (B, S).
        labels: (B,).
        strength: above 0.

    Returns:
        Weight (K, S) and bias (K,), of the dtype of those given.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x, w0, b0 = (value.detach().clone().double() for value in (inputs, weight, bias))
        scale = x.square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
        moves = torch.zeros_like(w0, requires_grad=True), torch.zeros_like(b0, requires_grad=True)
        solver = torch.optim.LBFGS(moves, max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            logits = F.linear(x, w0 + moves[0] / scale, b0 + moves[1])
            value = strength * F.cross_entropy(logits, labels.clone(), reduction="sum")
            value = value + sum(move.square().sum() for move in moves) / 2
            value.backward()
            return value

        solver.step(loss)
    return (w0 + moves[0].detach() / scale).to(weight.dtype), (b0 + moves[1].detach()).to(bias.dtype)


@torch.inference_mode()
def _head_inputs(network: TileClassifier, mode: str, images: np.ndarray, device: torch.device) -> Tensor:
    """What the layer that moves is given (B, S)."""
    prepared = network.prepared(torch.tensor(images, device=device))
    if mode == "finetune":
        return network.head[:-1](network.pool(prepared)[0])
    return network.encoder.embed(prepared)


@torch.no_grad()
def _remember_more(new: NearestNeighborHead, old: NearestNeighborHead, embeddings: Tensor, labels: Tensor) -> None:
    weights = old.votes.amax(0)
    weights = torch.where(weights > 0, weights, weights[weights > 0].mean())
    new.mean.copy_(old.mean)
    new.scale.copy_(old.scale)
    new.examples.copy_(torch.cat((old.examples, F.normalize((embeddings - old.mean) / old.scale, dim=1))))
    new.votes.copy_(torch.cat((old.votes, F.one_hot(labels, old.votes.shape[1]) * weights)))


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BATCH_TILES] for start in range(0, len(images), BATCH_TILES)]
