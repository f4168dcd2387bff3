"""One step of a masked autoencoder of graphs."""

from __future__ import annotations

import torch
from torch import Tensor

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.engines.iteration import SelfSupervisedIteration
from hmgdm_monai.networks.methods.graph_mae import GraphMAE


class MaskedVertexIteration(SelfSupervisedIteration):
    """Restore the hidden vertices of latent graphs.

    Args:
        loss: :class:`hmgdm_monai.losses.scaled_cosine.ScaledCosineLoss`.
        seed: seed of the run.
        max_grad_norm: maximum norm of the gradients; None does not clip.
    """

    def compute(self, network: GraphMAE, batch: EntityGraph, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss for a new random split, and the embeddings (B, S) of the whole graphs.

        In training mode, the loss replaces the embeddings: they are computed in validation only.
        """
        loss = self.loss(*network(batch, BatchDraws(batch, generator, shared=network.training)))
        if network.training:
            return loss, loss.detach().expand(batch.num_graphs, 1)
        return loss, network.embed(batch)
