"""Dense losses: a region of one view belongs to the same region of the other view of its image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.losses.dino import DINOLoss
from hmgdm_monai.losses.gathering import gather_with_gradients, total
from hmgdm_monai.ranks import num_ranks, rank

NEGATIVES = ("all", "other_images", "same_class")


class DenseContrastiveLoss(nn.Module):
    """InfoNCE over regions: region k of one view must pick out region k of the other among the regions of that view.

    Anchors are the regions valid in both views, in both directions. Against an anchor stand its partner and, of the
    other view, the valid regions that ``negatives`` names (their own partner need not be valid):

    - "all": all but the partner, of the same image too: regions of one image are told apart.
    - "other_images": those of other images.
    - "same_class": those of the same k of other images: cells against cells. It has no meaning where numbers of
      regions differ in meaning from image to image, as superpixels' do.

    An anchor without any negative has nothing to be told from: it counts in neither sum nor number of anchors. The
    loss is the mean over anchors that count, of both directions together; 0 with gradients 0 where there are none.

    Several processes: negatives come from all, each takes its own regions as anchors. As the number of valid regions
    differs between them, each divides its sum by the number of anchors of all and multiplies by the number of
    processes: the mean over processes (of losses, and of gradients as DistributedDataParallel takes it) is that of the
    joint batch, while the loss of one process may be above or below its own mean. B is the same in each.

    The dense contrastive variant of DiRL (Kapse et al., arXiv 2309.06439); choice of negatives, temperature and
    what counts as an anchor are ours.

    Args:
        temperature: divides the cosine.
        negatives: "all", "other_images" or "same_class".

    Raises:
        ValueError: a setting out of its range, or (on calling) tensors that do not match.
    """

    def __init__(self, temperature: float = 0.2, negatives: str = "all") -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        if negatives not in NEGATIVES:
            raise ValueError(f"negatives must be one of {NEGATIVES}, not {negatives!r}")
        self.temperature, self.negatives = temperature, negatives

    def forward(self, regions_1: Tensor, regions_2: Tensor, valid_1: Tensor, valid_2: Tensor) -> Tensor:
        """Loss of B images.

        Args:
            regions_1: (B, R, D) projections of the regions of view 1.
            regions_2: (B, R, D) of view 2.
            valid_1: (B, R) bool, which of them are there.
            valid_2: (B, R) bool.

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
            # The partner stays in every row, so that no row is empty; rows that do not count are left out of the sum.
            partner = logits.gather(1, positive.unsqueeze(1))
            log_sum = logits.masked_fill(~against.scatter(1, positive.unsqueeze(1), True), -torch.inf).logsumexp(1)
            losses.append(((log_sum - partner.squeeze(1)) * counts).sum())
            counted.append(counts.sum())
        anchors = total(torch.stack(counted).sum())
        return num_ranks() * torch.stack(losses).sum() / anchors.clamp_min(1)

    def _pairs(self, count: int, num_regions: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The column of each of B R anchors' partner, and which of P B R columns may be its negatives."""
        column = torch.arange(num_ranks() * count * num_regions, device=device)
        row = torch.arange(count * num_regions, device=device) + rank() * count * num_regions
        if self.negatives == "all":
            return row, row[:, None] != column[None]
        negative = row[:, None] // num_regions != column[None] // num_regions
        if self.negatives == "same_class":
            negative &= row[:, None] % num_regions == column[None] % num_regions
        return row, negative


class DenseDINOLoss(DINOLoss):
    """DINO's cross-entropy for each region that is valid in both views; see :class:`~hmgdm_monai.losses.dino.DINOLoss`.

    A mean over such regions of all images (and processes), each weighing alike. The center, its own, is moved by the
    same regions alone. The non-contrastive variant of DiRL; centering by region is ours.

    Args:
        num_prototypes: K, number of logits.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's softmax.
        center_momentum: share of the center that stays at each step.
    """

    def forward(  # type: ignore[override]  # regions have validity, images have none
        self,
        student_1: Tensor,
        student_2: Tensor,
        teacher_1: Tensor,
        teacher_2: Tensor,
        valid_1: Tensor,
        valid_2: Tensor,
    ) -> Tensor:
        """Loss of logits (B, R, K) of both views with validity (B, R) bool of each -> scalar."""
        return super().forward(student_1, student_2, teacher_1, teacher_2, valid_1 & valid_2)
