"""The part of a step that all methods on images share: two views of each tile, and the attention in validation."""

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
    """Train or validate on a batch of tiles with their region maps; the network sees two views of each tile.

    Validation adds two tensors to the output, for :class:`~hmgdm_monai.metrics.attention_metrics.AttentionMetrics`: the
    encoder's attention to whole tiles, and the fraction of each token that lies in each region. A network must have
    ``encoder`` (a :class:`~hmgdm_monai.networks.encoders.tile_vit.TileViT`), ``num_regions`` and ``embed``.

    Args:
        loss: computes the loss from the network's outputs.
        views: makes two views of each tile.
        seed: seed of the run.
        max_grad_norm: maximum norm of the gradients; None does not clip.
    """

    def __init__(self, loss: nn.Module, views: PairedViews, seed: int = 0, max_grad_norm: float | None = 1.0) -> None:
        super().__init__(loss, seed, max_grad_norm)
        self.views = views

    @abstractmethod
    def loss_of_views(self, network: Any, views: tuple[View, View], generator: torch.Generator) -> Tensor:
        """Return the loss (scalar) of both views of a batch."""

    def compute(self, network: Any, batch: Data, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss of two new random views of each tile, and the embeddings (B, S) of the whole tiles.

        In training mode, the loss replaces the embeddings: they are computed in validation only.
        """
        loss = self.loss_of_views(network, self.views.batch(batch.image, batch.regions, generator), generator)
        if network.training:
            return loss, loss.detach().expand(batch.num_graphs, 1)
        return loss, network.embed(batch)

    def watch(self, network: Any, batch: Data) -> dict[str, Tensor]:
        """Return ``attention`` (B, H, N) and ``token_weights`` (B, N, R) of whole tiles."""
        weights = token_weights(batch.regions, network.encoder.patch_px, network.num_regions)
        return {"attention": network.encoder.attention(pixels(batch)).float(), "token_weights": weights}
