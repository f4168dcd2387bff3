"""Settings that make of each config a run in miniature."""

from __future__ import annotations

from typing import Any

DATA = {"tile_size_px": 128, "max_tiles_per_slide": 6, "n_segments": 16, "device": "cpu"}
GRAPHS: dict[str, Any] = {
    **DATA,
    "max_epochs": 3,
    "probe_interval": 2,
    "batch_size": 4,
    "network_def::hidden_dim": 16,
    "network_def::num_layers": 2,
}
BACKBONE = {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None}
IMAGES: dict[str, Any] = {
    **DATA,
    "max_epochs": 3,
    "probe_interval": 2,
    "view_px": 64,
    "batch_size": 6,
    "lr_scheduler::total_iters": 2,
    "network_def::vit::hidden_dim": 16,
    "network_def::vit::num_layers": 2,
    "network_def::vit::heads": 2,
}
# Overrides that make of each training a run in miniature; of several config files the last one that is here counts.
TINY: dict[str, dict[str, Any]] = {
    "train.json": {**GRAPHS, "bottleneck_kl_weight": 0.1, "backbone": BACKBONE},
    "paper.json": {**GRAPHS, "bottleneck_kl_weight": 0.1},
    "baselines/graphmae.json": {**GRAPHS, "backbone": BACKBONE},
    "train_entities.json": {
        **DATA,
        "max_epochs": 2,
        "batch_size": 4,
        "train::iteration::windows_per_tile": 8,
        "network_def::window_px": 8,
        "network_def::widths": [8],
        "network_def::latent_channels": 1,
    },
    "dirl.json": {
        **IMAGES,
        "num_prototypes": 16,
        "network_def::head_hidden": 16,
        "network_def::projection_dim": 8,
    },
    "baselines/mae.json": IMAGES,
    "classify.json": {
        "device": "cpu",
        "max_epochs": 2,
        "batch_size": 8,
        "methods::knn::neighbors": [1, 3],
        "methods::linear::strengths": [0.01, 1.0],
        "n_folds": 3,
        "val_fraction": 0.34,
    },
}
