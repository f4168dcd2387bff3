"""Fine-tune graph encoders with labels, in the folds of the table, for a fixed number of epochs; nothing is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from reproduce_parts.folds import grouped_folds, some_of
from tqdm import tqdm

if TYPE_CHECKING:
    from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
    from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder

BATCH = 16
HEAD_RATE, ENCODER_RATE, WEIGHT_DECAY = 1e-3, 3e-4, 1e-2  # values of classify.json
MAX_GRAD_NORM = 10.0


def finetune_predictions(
    encoder: GraphTileEncoder,
    graphs: Sequence[Any],
    labels: np.ndarray,
    groups: np.ndarray,
    fold_seed: int,
    share: float,
    epochs: int,
) -> np.ndarray:
    """Return class probabilities (N, K); each tile is predicted by a network that has not seen its group.

    Graph encoder, gate and head are trained. The entity encoder is frozen, so latents are read from disk. Random
    numbers depend only on fold and seed: two encoders see the same tiles in the same order, and their heads start with
    the same weights.

    Args:
        encoder: pretrained or untrained encoder; it is copied for each fold.
        graphs: latent graphs of the tiles.
        labels: (N,) class of each tile.
        groups: (N,) group of each tile.
        fold_seed: seed of folds and training.
        share: fraction of the labeled groups of each training side.
        epochs: number of epochs per fold.
    """
    import torch

    from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
    from hmgdm_monai.tasks.tiles.data import predict_probabilities

    classes = np.unique(labels)
    found = np.zeros((len(labels), len(classes)))
    folds = grouped_folds(labels, groups, fold_seed)
    for number, (train, test) in enumerate(tqdm(folds, desc=f"fine-tuning, {share:.0%}", unit="fold", leave=False)):
        some = some_of(train, labels, groups, share, fold_seed, number)
        known, codes = np.unique(labels[some], return_inverse=True)
        torch.manual_seed(1000 * fold_seed + number)
        network = GatedTileClassifier(encoder, len(known))
        _train(network, [graphs[i] for i in some], codes, epochs)
        columns = np.searchsorted(classes, known)
        found[np.ix_(test, columns)] = predict_probabilities(network, [graphs[i] for i in test], "cpu")
    return found


def _train(network: GatedTileClassifier, graphs: Sequence[Any], codes: np.ndarray, epochs: int) -> None:
    """Train with AdamW, a cosine schedule and class-weighted cross-entropy."""
    import torch
    from torch_geometric.data import Batch

    from hmgdm_monai.losses.class_weights import class_weights

    groups = [
        {"params": network.head_parameters(), "lr": HEAD_RATE},
        {"params": network.encoder.trainable_parameters(), "lr": ENCODER_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loss = torch.nn.CrossEntropyLoss(class_weights(codes, int(codes.max()) + 1))
    targets = torch.from_numpy(codes)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(graphs)).split(BATCH):
            optimizer.zero_grad()
            loss(network(Batch.from_data_list([graphs[i] for i in chosen])), targets[chosen]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
            optimizer.step()
        schedule.step()
