"""One step of a masked autoencoder of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.engines.views_iteration import ViewsIteration
from hmgdm_monai.networks.methods.masked_autoencoder import MaskedAutoencoder
from hmgdm_monai.transforms.paired_views import PairedViews, View


class MaskedImageIteration(ViewsIteration):
    """Train or validate on two views of each tile, as all methods on images do, each restored by itself.

    Args:
        loss: :class:`~hmgdm_monai.losses.masked_patches.MaskedPatchLoss`.
        views: makes two of each tile.
        noising: forward process of the hidden patches; None where they are not shown at all.
        seed: of the run. max_grad_norm: see the base class.
    """

    def __init__(
        self,
        loss: nn.Module,
        views: PairedViews,
        noising: Noising | None = None,
        seed: int = 0,
        max_grad_norm: float | None = 1.0,
    ) -> None:
        super().__init__(loss, views, seed, max_grad_norm)
        self.noising = noising

    def loss_of_views(self, network: MaskedAutoencoder, views: tuple[View, View], generator: torch.Generator) -> Tensor:
        """Loss of a fresh split of each view, and of fresh noise where there is any."""
        return self.loss(*network(torch.cat([view.image for view in views]), generator, self.noising))
