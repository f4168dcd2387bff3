"""Run a training: fit the scale of latents, resume, train, keep the best weights."""

from __future__ import annotations

import logging
from typing import Any

from monai.engines import Trainer

from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
from hmgdm_monai.networks.encoders.graph_embedder import GraphEmbedder
from hmgdm_monai.networks.methods.dirl import DiRL
from hmgdm_monai.networks.methods.masked_autoencoder import MaskedAutoencoder
from hmgdm_monai.ranks import copy_from_first
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData
from hmgdm_monai.tasks.pretraining.image_data import ImageData

logger = logging.getLogger(__name__)


def train_window_autoencoder(
    data: PretrainingData, network: WindowAutoencoder, trainer: Trainer, checkpoint: StageCheckpoint
) -> None:
    """Stage 1 of the paper: train or resume, then freeze the network."""
    _take_up(data, trainer, checkpoint)
    copy_from_first(network)
    run_stage(trainer, checkpoint)
    network.requires_grad_(False).eval()


def train_on_graphs(
    data: PretrainingData, network: GraphEmbedder, trainer: Trainer, checkpoint: StageCheckpoint
) -> None:
    """Train H-MGDM or another network of graphs: fit the scale of the latents, then train or resume."""
    if not _take_up(data, trainer, checkpoint):
        network.standardizer.fit(data.sample_latents().to(next(network.parameters()).device))
    copy_from_first(network)
    run_stage(trainer, checkpoint)
    network.eval()


def train_on_images(
    data: ImageData, network: DiRL | MaskedAutoencoder, trainer: Trainer, checkpoint: StageCheckpoint
) -> None:
    """Train DiRL or another method on images, or resume the training.

    Args:
        data: tiles and regions.
        network: network to train.
        trainer: trainer of this stage.
        checkpoint: checkpoint of this stage.

    Raises:
        InputError: there are too few tiles for one batch.
    """
    loader: Any = trainer.data_loader  # a PyTorch data loader, though MONAI also takes other iterables
    if len(loader) == 0:  # the loader drops an incomplete last batch
        tiles, size = len(loader.dataset), loader.batch_size
        raise InputError(f"training has {tiles} tiles, fewer than a batch of {size}; set batch_size to {tiles} or less")
    _take_up(data.tiles, trainer, checkpoint)
    run_stage(trainer, checkpoint)
    network.eval()


def run_stage(trainer: Trainer, checkpoint: StageCheckpoint) -> None:
    """Train a stage to its end, from the start or resumed, and load the kept weights into the network.

    A stage with all epochs completed is not run again; if the number of epochs is increased, it continues. A stage that
    early stopping has ended is not continued.

    Args:
        trainer: trainer of this stage.
        checkpoint: checkpoint of this stage, attached to ``trainer`` and resumed.
    """
    if checkpoint.stopped_early or trainer.state.epoch >= trainer.state.max_epochs:
        logger.info("%s: %d epochs are completed, nothing to train", checkpoint.path.name, trainer.state.epoch)
    else:
        trainer.run()
    checkpoint.keep_best()


def _take_up(data: PretrainingData, trainer: Trainer, checkpoint: StageCheckpoint) -> int:
    """Attach the checkpoint after the config's handlers, and resume; return the number of completed epochs."""
    # Not in the config, because MONAI's check_properties needs every handler of a config to be a plain definition.
    checkpoint.settings["cohort"] = data.fingerprint()
    checkpoint.attach(trainer)
    return checkpoint.resume(trainer)
