"""What all methods on images share in a step: two views of each tile, and the attention that is watched."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.engines.iteration import SelfSupervisedIteration
from hmgdm_monai.networks.encoders.vit_tile_encoder import pixels
from hmgdm_monai.networks.layers.region_pooling import token_weights
from hmgdm_monai.transforms.paired_views import PairedViews, View


class ViewsIteration(SelfSupervisedIteration):
    """Train or validate on a batch of tiles with their region maps, of which the network sees two views each.

    Validation adds the encoder's attention to whole tiles to the output, and how much of each token lies in each
    region, for :class:`~hmgdm_monai.metrics.attention_metrics.AttentionMetrics`. Networks have ``encoder`` (a
    :class:`~hmgdm_monai.networks.encoders.tile_vit.TileViT`), ``num_regions`` and ``embed``.

    Args:
        loss: of the network's outputs.
        views: makes two of each tile.
        seed: of the run. max_grad_norm: see the base class.
    """

    def __init__(self, loss: nn.Module, views: PairedViews, seed: int = 0, max_grad_norm: float | None = 1.0) -> None:
        super().__init__(loss, seed, max_grad_norm)
        self.views = views

    @abstractmethod
    def loss_of_views(self, network: Any, views: tuple[View, View], generator: torch.Generator) -> Tensor:
        """The loss (scalar) of both views of a batch."""

    def compute(self, network: Any, batch: Data, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Loss of two fresh views of each tile; embeddings (B, S) of whole tiles, in validation only."""
        loss = self.loss_of_views(network, self.views.batch(batch.image, batch.regions, generator), generator)
        if network.training:
            return loss, loss.detach().expand(batch.num_graphs, 1)
        return loss, network.embed(batch)

    def watch(self, network: Any, batch: Data) -> dict[str, Tensor]:
        """``attention`` (B, H, N) and ``token_weights`` (B, N, R) of whole tiles."""
        weights = token_weights(batch.regions, network.encoder.patch_px, network.num_regions)
        return {"attention": network.encoder.attention(pixels(batch)).float(), "token_weights": weights}
