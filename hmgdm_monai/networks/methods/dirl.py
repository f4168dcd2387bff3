"""DiRL: a vision transformer trained to distinguish images and to match regions between two views of an image."""

from __future__ import annotations

import copy
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.networks.encoders.tile_vit import TileViT
from hmgdm_monai.networks.encoders.vit_tile_encoder import pixels, read_out
from hmgdm_monai.networks.layers.projection_head import ProjectionHead, PrototypeHead
from hmgdm_monai.networks.layers.region_pooling import MaskedPooling, token_weights
from hmgdm_monai.transforms.paired_views import View

METHODS = ("dino", "contrastive")


class ViewOutput(NamedTuple):
    """Inputs of the losses from one view (P = projection size, or K logits of prototypes).

    Attributes:
        image: (B, P), of the whole view.
        regions: (B, R, P), of its regions; None if regions are not matched.
        valid: (B, R) bool, which regions are present; None if regions are not matched.
    """

    image: Tensor
    regions: Tensor | None
    valid: Tensor | None


class DiRL(nn.Module):
    """Student network, with a teacher for self-distillation, and heads for images and regions.

    The image is represented by the class token, a region by the mean of its patch tokens, weighted by the share of each
    patch that lies in it (Kapse et al., "Attention De-sparsification Matters", arXiv 2309.06439). The text of the paper
    was not available: sizes of heads, the minimum area of a region and all other numbers are ours.

    Args:
        vit: the student.
        method: "dino" (a teacher, the moving average of the student, gives the targets) or "contrastive".
        dense: whether regions are matched. False gives the vanilla method, without head and pooling of regions.
        num_regions: number of regions R, at most 255.
        head_hidden: hidden size of the heads.
        projection_dim: output size P for "contrastive"; bottleneck size for "dino".
        num_prototypes: number of prototypes K for "dino".
        teacher_momentum: share of the teacher that is kept at each step.
        min_region_mass: minimum area of a valid region, in patches.
        readout: readout of :meth:`embed`: "mean", "cls" or "both".

    Raises:
        ValueError: the method is unknown, or the momentum is outside [0, 1).
    """

    def __init__(
        self,
        vit: TileViT,
        method: str = "dino",
        dense: bool = True,
        num_regions: int = 3,
        head_hidden: int = 256,
        projection_dim: int = 64,
        num_prototypes: int = 512,
        teacher_momentum: float = 0.99,
        min_region_mass: float = 1.0,
        readout: str = "mean",
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, not {method!r}")
        if not 0 <= teacher_momentum < 1:
            raise ValueError(f"teacher_momentum must lie in [0, 1), not {teacher_momentum}")
        self.method, self.dense, self.num_regions, self.readout = method, dense, num_regions, readout
        self.teacher_momentum = teacher_momentum

        def head() -> nn.Module:
            if method == "dino":
                return PrototypeHead(vit.hidden_dim, head_hidden, projection_dim, num_prototypes)
            return ProjectionHead(vit.hidden_dim, head_hidden, projection_dim)

        self.pooling = MaskedPooling(min_region_mass)
        # The dense head is created last, so that all other weights start equal with and without it.
        parts = {"vit": vit, "image_head": head()} | ({"region_head": head()} if dense else {})
        self.student = nn.ModuleDict(parts)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False) if method == "dino" else None

    @property
    def encoder(self) -> TileViT:
        """The network for downstream tasks: the teacher if there is one, as in DINO."""
        return cast(TileViT, (self.student if self.teacher is None else self.teacher)["vit"])

    def forward(self, view_1: View, view_2: View) -> tuple[list[ViewOutput], list[ViewOutput] | None]:
        """Compute outputs of student and teacher for both views (images (B, 3, s, s), regions (B, 1, s, s) uint8).

        Args:
            view_1: first view of each image.
            view_2: second view of each image.

        Returns:
            Outputs of the student, and of the teacher or None without a teacher, one for each view.
        """
        images = torch.cat((view_1.image, view_2.image))
        weights = None
        if self.dense:
            regions = torch.cat((view_1.regions, view_2.regions))
            weights = token_weights(regions, self.encoder.patch_px, self.num_regions)
        students = self._both(self.student, images, weights)
        if self.teacher is None:
            return students, None
        with torch.no_grad():
            return students, self._both(self.teacher, images, weights)

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Move the teacher towards the student; call it after each optimizer step."""
        if self.teacher is not None:
            theirs: list[Tensor] = list(self.teacher.parameters())
            ours: list[Tensor] = list(self.student.parameters())
            torch._foreach_lerp_(theirs, ours, 1.0 - self.teacher_momentum)

    def embed(self, samples: Data) -> Tensor:
        """Compute the embeddings (B, S) of whole tiles with :attr:`encoder`."""
        class_token, tokens = self.encoder(pixels(samples))
        return read_out(class_token, tokens, self.readout)

    def _both(self, networks: nn.ModuleDict, images: Tensor, weights: Tensor | None) -> list[ViewOutput]:
        class_tokens, tokens = networks["vit"](images)
        outputs = [networks["image_head"](class_tokens).chunk(2)]
        if weights is None:
            return [ViewOutput(image, None, None) for image in outputs[0]]
        regions, valid = self.pooling(tokens, weights)
        outputs += [networks["region_head"](regions).chunk(2), valid.chunk(2)]
        return [ViewOutput(*parts) for parts in zip(*outputs, strict=True)]
