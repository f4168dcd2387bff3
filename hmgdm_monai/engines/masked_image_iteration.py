"""One step of a masked autoencoder of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.engines.views_iteration import ViewsIteration
from hmgdm_monai.networks.methods.masked_autoencoder import MaskedAutoencoder
from hmgdm_monai.transforms.paired_views import PairedViews, View


class MaskedImageIteration(ViewsIteration):
    """Train or validate a masked autoencoder on two views of each tile.

    All methods on images use two views. Here each view is restored on its own.

    Args:
        loss: :class:`~hmgdm_monai.losses.masked_patches.MaskedPatchLoss`.
        views: makes two views of each tile.
        noising: forward process of the hidden patches; None if the network does not see hidden patches at all.
        seed: seed of the run.
        max_grad_norm: maximum norm of the gradients; None does not clip.
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
        """Return the loss for a new random split of each view, and for new noise if there is a forward process."""
        return self.loss(*network(torch.cat([view.image for view in views]), generator, self.noising))
