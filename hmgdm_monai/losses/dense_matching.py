"""Dense losses: match each region of one view with the same region of the other view of the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.losses.dino import DINOLoss
from hmgdm_monai.losses.gathering import gather_with_gradients, total
from hmgdm_monai.ranks import num_ranks, rank

NEGATIVES = ("all", "other_images", "same_class")


class DenseContrastiveLoss(nn.Module):
    """InfoNCE over regions: region k of one view must be recognized among the regions of the other view.

    Anchors are the regions valid in both views, in both directions. Each anchor is compared with its partner and with
    negatives, the valid regions of the other view selected by ``negatives`` (their own partners need not be valid):

    - "all": all except the partner, also of the same image, so regions of one image are distinguished.
    - "other_images": regions of other images.
    - "same_class": regions with the same k of other images: cells against cells. This is meaningless if the numbers of
      regions differ in meaning between images, as for superpixels.

    An anchor without negatives is skipped: it counts neither in the sum nor in the number of anchors. The loss is the
    mean over the other anchors of both directions; without any, the loss and its gradients are 0.

    With several processes, negatives come from all, and each process uses its own regions as anchors. Because the
    number of valid regions differs between processes, each divides its sum by the total number of anchors and
    multiplies by the number of processes. So the mean over processes (of losses, and of gradients in
    DistributedDataParallel) is that of the joint batch, although the loss of one process may differ from its own mean.
    B must be equal in all processes.

    This is the dense contrastive variant of DiRL (Kapse et al., arXiv 2309.06439); the choice of negatives, the
    temperature and the definition of an anchor are ours.

    Args:
        temperature: divisor of the cosine.
        negatives: "all", "other_images" or "same_class".

    Raises:
        ValueError: a setting is out of range, or (when called) the shapes do not match.
    """

    def __init__(self, temperature: float = 0.2, negatives: str = "all") -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        if negatives not in NEGATIVES:
            raise ValueError(f"negatives must be one of {NEGATIVES}, not {negatives!r}")
        self.temperature, self.negatives = temperature, negatives

    def forward(self, regions_1: Tensor, regions_2: Tensor, valid_1: Tensor, valid_2: Tensor) -> Tensor:
        """Compute the loss of B images.

        Args:
            regions_1: (B, R, D) projections of the regions of view 1.
            regions_2: (B, R, D) projections of the regions of view 2.
            valid_1: (B, R) bool, which regions of view 1 are present.
            valid_2: (B, R) bool, which regions of view 2 are present.

        Returns:
            Scalar.
        """
        shape = regions_1.shape
        if regions_2.shape != shape or len(shape) != 3:
            raise ValueError(f"need two tensors of one shape (B, R, D), got {tuple(shape)}, {tuple(regions_2.shape)}")
        if valid_1.shape != shape[:2] or valid_2.shape != shape[:2]:
            raise ValueError(f"validity of {tuple(valid_1.shape)} and {tuple(valid_2.shape)} for {tuple(shape)}")
        dtype = torch.promote_types(regions_1.dtype, torch.float32)
        views = F.normalize(torch.stack((regions_1, regions_2), 1).to(dtype), dim=-1)  # (B, 2, R, D)
        valid = torch.stack((valid_1, valid_2), 1).bool()
        candidates, present = gather_with_gradients(views), gather_with_gradients(valid.to(torch.uint8)).bool()
        positive, negative = self._pairs(len(views), shape[1], views.device)

        losses, counted = [], []
        for one, other in ((0, 1), (1, 0)):
            against = negative & present[:, other].reshape(1, -1)
            counts = (valid_1 & valid_2).reshape(-1) & against.any(1)
            logits = views[:, one].flatten(0, 1) @ candidates[:, other].flatten(0, 1).T / self.temperature
            # The partner is kept in every row, so that no row is empty; anchors without negatives get weight 0.
            partner = logits.gather(1, positive.unsqueeze(1))
            log_sum = logits.masked_fill(~against.scatter(1, positive.unsqueeze(1), True), -torch.inf).logsumexp(1)
            losses.append(((log_sum - partner.squeeze(1)) * counts).sum())
            counted.append(counts.sum())
        anchors = total(torch.stack(counted).sum())
        return num_ranks() * torch.stack(losses).sum() / anchors.clamp_min(1)

    def _pairs(self, count: int, num_regions: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Column of the partner of each of B R anchors, and mask of its possible negatives among P B R columns."""
        column = torch.arange(num_ranks() * count * num_regions, device=device)
        row = torch.arange(count * num_regions, device=device) + rank() * count * num_regions
        if self.negatives == "all":
            return row, row[:, None] != column[None]
        negative = row[:, None] // num_regions != column[None] // num_regions
        if self.negatives == "same_class":
            negative &= row[:, None] % num_regions == column[None] % num_regions
        return row, negative


class DenseDINOLoss(DINOLoss):
    """DINO's cross-entropy of each region valid in both views; see :class:`~hmgdm_monai.losses.dino.DINOLoss`.

    It is the mean over such regions of all images (and processes), with equal weights. It has its own center, updated
    by the same regions. This is the non-contrastive variant of DiRL; centering by region is ours.

    Args:
        num_prototypes: number of logits K.
        student_temperature: temperature of the student's softmax.
        teacher_temperature: temperature of the teacher's softmax.
        center_momentum: share of the center that is kept at each step.
    """

    def forward(  # type: ignore[override]  # regions have a validity, images do not
        self,
        student_1: Tensor,
        student_2: Tensor,
        teacher_1: Tensor,
        teacher_2: Tensor,
        valid_1: Tensor,
        valid_2: Tensor,
    ) -> Tensor:
        """Compute the loss from logits (B, R, K) of both views and the validity (B, R) bool of each -> scalar.

        Args:
            student_1: (B, R, K) student logits of view 1.
            student_2: (B, R, K) student logits of view 2.
            teacher_1: (B, R, K) teacher logits of view 1.
            teacher_2: (B, R, K) teacher logits of view 2.
            valid_1: (B, R) bool, which regions of view 1 are present.
            valid_2: (B, R) bool, which regions of view 2 are present.
        """
        return super().forward(student_1, student_2, teacher_1, teacher_2, valid_1 & valid_2)
