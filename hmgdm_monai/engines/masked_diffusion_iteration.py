"""One training step of masked graph diffusion."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.engines.iteration import SelfSupervisedIteration
from hmgdm_monai.networks.methods.hmgdm import HMGDM

logger = logging.getLogger(__name__)


class MaskedDiffusionIteration(SelfSupervisedIteration):
    """Restore the hidden vertices and edges of latent graphs.

    Args:
        loss: :class:`hmgdm_monai.losses.masked_graph.MaskedGraphLoss`.
        noising: forward process of the diffusion.
        seed: seed of the run.
        max_grad_norm: maximum norm of the gradients; None does not clip.
    """

    def __init__(self, loss: nn.Module, noising: Noising, seed: int = 0, max_grad_norm: float | None = 10.0) -> None:
        super().__init__(loss, seed, max_grad_norm)
        self.noising = noising
        logger.info("noise: %d timesteps, abar_T = %.2g", noising.num_timesteps, noising.signal_at_end)

    def compute(self, network: HMGDM, batch: EntityGraph, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss for a new random split, timestep and noise, and the embeddings (B, S) of the whole graphs.

        In training mode, the loss replaces the embeddings: they are computed in validation only.
        """
        output = network(batch, self.noising, BatchDraws(batch, generator, shared=network.training))
        loss = self.loss(*output)
        if network.training:
            return loss, loss.detach().expand(batch.num_graphs, 1)
        return loss, network.embed(batch)
