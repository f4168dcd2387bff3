"""A vision transformer whose patches are read from the maps of a frozen backbone."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.entities.backbones.build import BackboneSettings, build_backbone
from hmgdm_monai.networks.encoders.tile_vit import TileViT


class BackboneViT(TileViT):
    """Compute tokens from the feature maps of a frozen pretrained backbone.

    Each map is averaged over the patches, all channels of a patch are normalized together (LayerNorm), and a linear
    layer turns them into the patch's embedding. Positions, class token and blocks are those of
    :class:`~hmgdm_monai.networks.encoders.tile_vit.TileViT`. So the methods on images train an attention head on a
    backbone that already knows how tissue looks.

    Args:
        backbone: name or settings of the backbone; see :func:`hmgdm_monai.entities.backbones.build.build_backbone`.
        image_px: side of the training images in px.
        patch_px: side of a patch in px.
        hidden_dim: size D of a token.
        num_layers: number of transformer blocks.
        heads: number of attention heads of each block.
        mlp_ratio: hidden size of each block's MLP divided by D.
        published: whether to load the published weights of the backbone. False if a state dict follows.

    Raises:
        InputError: the backbone cannot be built.
        ValueError: the sizes do not divide each other.
    """

    def __init__(
        self,
        backbone: BackboneSettings,
        image_px: int = 128,
        patch_px: int = 16,
        hidden_dim: int = 128,
        num_layers: int = 2,
        heads: int = 4,
        mlp_ratio: int = 4,
        published: bool = True,
    ) -> None:
        super().__init__(image_px, patch_px, hidden_dim, num_layers, heads, mlp_ratio)
        self.backbone = build_backbone(backbone, published)
        self.vit.patch_embedding.patch_embeddings = nn.Sequential(
            nn.LayerNorm(self.backbone.channels), nn.Linear(self.backbone.channels, hidden_dim)
        )
        self.settings["backbone"] = dict(self.backbone.settings)

    def fixed_parameters(self) -> list[nn.Parameter]:
        """Parameters that no training changes: the table of positions, and the backbone."""
        return [*super().fixed_parameters(), *self.backbone.parameters()]

    def _patches(self, images: Tensor) -> Tensor:
        size = (images.shape[-2] // self.patch_px, images.shape[-1] // self.patch_px)
        with torch.no_grad():
            maps = self.backbone(255.0 * images)
        channels = torch.cat([F.adaptive_avg_pool2d(one, size) for one in maps], 1)
        embedded: Tensor = self.vit.patch_embedding.patch_embeddings(channels.movedim(1, -1))
        return embedded.movedim(-1, 1)

    def __deepcopy__(self, memo: dict[int, Any]) -> BackboneViT:
        """Copy everything except the backbone, which is frozen: student and teacher share one."""
        memo[id(self.backbone)] = self.backbone
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied
