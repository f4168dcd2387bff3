"""One step of DiRL: two views of each tile, and what they have in common."""

from __future__ import annotations

import torch
from monai.engines import SupervisedTrainer
from torch import Tensor
from torch_geometric.data import Data

from hmgdm_monai.engines.iteration import SelfSupervisedIteration
from hmgdm_monai.losses.dirl import DiRLLoss
from hmgdm_monai.networks.dirl import DiRL
from hmgdm_monai.networks.region_pooling import token_weights
from hmgdm_monai.networks.vit_tile_encoder import pixels
from hmgdm_monai.transforms.paired_views import PairedViews


class DiRLIteration(SelfSupervisedIteration):
    """Train or validate on a batch of tiles with their region maps.

    Validation adds the encoder's attention to whole tiles to the output, and how much of each token lies in each
    region, for :class:`~hmgdm_monai.metrics.attention_metrics.AttentionMetrics`.

    Args:
        loss: of the network's outputs.
        views: makes two of each tile.
        seed: of the run. max_grad_norm: see the base class.
    """

    def __init__(self, loss: DiRLLoss, views: PairedViews, seed: int = 0, max_grad_norm: float | None = 1.0) -> None:
        super().__init__(loss, seed, max_grad_norm)
        self.views = views

    def compute(self, network: DiRL, batch: Data, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Loss of two fresh views of each tile; embeddings (B, S) of whole tiles, in validation only."""
        self.loss.train(network.training)  # centres move in training alone
        views = self.views.batch(batch.image, batch.regions, generator)
        loss = self.loss(*network(*views)).total
        if network.training:
            return loss, loss.detach().expand(batch.num_graphs, 1)
        return loss, network.embed(batch)

    def after_step(self, engine: SupervisedTrainer) -> None:
        """The teacher follows."""
        engine.network.update_teacher()

    def watch(self, network: DiRL, batch: Data) -> dict[str, Tensor]:
        """``attention`` (B, H, N) and ``token_weights`` (B, N, R) of whole tiles."""
        weights = token_weights(batch.regions, network.encoder.patch_px, network.num_regions)
        return {"attention": network.encoder.attention(pixels(batch)).float(), "token_weights": weights}
