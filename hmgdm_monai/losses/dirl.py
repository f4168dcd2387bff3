"""DiRL's objective for whole images and their regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from hmgdm_monai.losses.dense_matching import DenseDINOLoss
from hmgdm_monai.losses.dino import DINOLoss
from hmgdm_monai.networks.methods.dirl import ViewOutput


class DiRLTerms(NamedTuple):
    """The loss and its terms, scalars.

    Attributes:
        total: ``image + weight * regions``.
        image: loss of whole images.
        regions: loss of regions, 0 if regions are not matched.
    """

    total: Tensor
    image: Tensor
    regions: Tensor


class DiRLLoss(nn.Module):
    """L = L_global + lambda * L_dense; lambda = 0 gives the vanilla method (Kapse et al., arXiv 2309.06439).

    Args:
        image_loss: :class:`DINOLoss` or :class:`~hmgdm_monai.losses.info_nce.GlobalContrastiveLoss`.
        region_loss: :class:`DenseDINOLoss` or :class:`~hmgdm_monai.losses.dense_matching.DenseContrastiveLoss`.
        dense_weight: weight lambda of the region loss.

    Raises:
        ValueError: the weight is negative.
    """

    def __init__(self, image_loss: nn.Module, region_loss: nn.Module, dense_weight: float = 1.0) -> None:
        super().__init__()
        if dense_weight < 0:
            raise ValueError(f"dense_weight must not be negative, got {dense_weight}")
        self.image_loss, self.region_loss, self.dense_weight = image_loss, region_loss, dense_weight

    def forward(self, students: Sequence[ViewOutput], teachers: Sequence[ViewOutput] | None) -> DiRLTerms:
        """Compute the terms of a batch from the outputs of :class:`~hmgdm_monai.networks.methods.dirl.DiRL`.

        Args:
            students: outputs of the student for both views.
            teachers: outputs of the teacher for both views; None without a teacher.

        Raises:
            ValueError: a loss needs a teacher and the network has none, or the reverse.
        """
        targets = [] if teachers is None else [view.image for view in teachers]
        image = self.image_loss(*(view.image for view in students), *self._targets(self.image_loss, DINOLoss, targets))
        if self.dense_weight == 0:
            return DiRLTerms(image, image, image.new_zeros(()))
        region_targets = [] if teachers is None else [view.regions for view in teachers]
        regions = self.region_loss(
            *(view.regions for view in students),
            *self._targets(self.region_loss, DenseDINOLoss, region_targets),
            *(view.valid for view in students),
        )
        return DiRLTerms(image + self.dense_weight * regions, image, regions)

    @staticmethod
    def _targets(loss: nn.Module, distilling: type, targets: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        if isinstance(loss, distilling) != bool(targets):
            has = "with a" if targets else "without"
            raise ValueError(f"{type(loss).__name__} cannot be used with a network {has} teacher")
        return targets
