"""A vision transformer for tiles: MONAI's ViT with a class token, for any image size, with access to its attention."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import ViT
from torch import Tensor, nn

# Approximate mean and deviation of H&E pixels; the same for all data, so that all models use the same scale.
PIXEL_MEAN, PIXEL_STD = 0.7, 0.2


class TileViT(nn.Module):
    """Compute tokens from images (Dosovitskiy et al., ICLR 2021).

    Positions are fixed sines and cosines over the grid of patches of the training size; for other image sizes they are
    interpolated to the new grid, as in DINO (Caron et al., ICCV 2021).

    Args:
        image_px: side of the training images in px.
        patch_px: side of a patch in px; divides ``image_px``.
        hidden_dim: size D of a token, a multiple of 4 and of ``heads``.
        num_layers: number of transformer blocks.
        heads: number of attention heads H of each block.
        mlp_ratio: hidden size of each block's MLP divided by D.

    Raises:
        ValueError: the sizes do not divide each other.
    """

    def __init__(
        self,
        image_px: int = 128,
        patch_px: int = 16,
        hidden_dim: int = 128,
        num_layers: int = 4,
        heads: int = 4,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        if heads < 1 or image_px % patch_px or hidden_dim % 4 or hidden_dim % heads:
            raise ValueError(
                f"patches of {patch_px} px must divide images of {image_px} px, and 4 and {heads} heads must divide "
                f"hidden_dim {hidden_dim}"
            )
        # The arguments, as JSON values.
        self.settings: dict[str, Any] = {
            "image_px": int(image_px),
            "patch_px": int(patch_px),
            "hidden_dim": int(hidden_dim),
            "num_layers": int(num_layers),
            "heads": int(heads),
            "mlp_ratio": int(mlp_ratio),
        }
        self.patch_px, self.hidden_dim, self.grid = patch_px, hidden_dim, image_px // patch_px
        self.vit = ViT(
            in_channels=3,
            img_size=image_px,
            patch_size=patch_px,
            hidden_size=hidden_dim,
            mlp_dim=mlp_ratio * hidden_dim,
            num_layers=num_layers,
            num_heads=heads,
            proj_type="conv",
            pos_embed_type="sincos",
            classification=True,
            spatial_dims=2,
            qkv_bias=True,
        )
        del self.vit.classification_head  # this network has no head
        nn.init.trunc_normal_(self.vit.cls_token, std=0.02)
        for block in self.vit.blocks:
            attention: Any = block.attn
            attention.use_flash_attention = True  # the same result, faster and with less memory
            block.norm_cross_attn = nn.Identity()  # its weights are not used

    def forward(self, images: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute class token (B, D) and patch tokens (B, N, D), row by row, of images (B, 3, H, W) in [0, 1].

        Args:
            images: (B, 3, H, W) in [0, 1].
            keep: (B, K) int64, indices of the visible patches of each image. Tokens are then (B, K, D), in this order,
                and pixels of other patches have no influence. None for all.

        Raises:
            ValueError: H or W is not a multiple of the patch size.
        """
        embedded = self._embedded(images)
        if keep is not None:
            kept = embedded[:, 1:].gather(1, keep.unsqueeze(-1).expand(-1, -1, embedded.shape[-1]))
            embedded = torch.cat((embedded[:, :1], kept), 1)
        tokens = self.vit.norm(self._through(embedded, len(self.vit.blocks)))
        return tokens[:, 0], tokens[:, 1:]

    def fixed_parameters(self) -> list[nn.Parameter]:
        """Parameters that no training changes: the table of positions."""
        return [self.vit.patch_embedding.position_embeddings]

    def attention(self, images: Tensor) -> Tensor:
        """Attention of the class token to the patches in the last block, by head, (B, H, N), summing to 1."""
        last: Any = self.vit.blocks[-1].attn
        last.use_flash_attention, last.save_attn = False, True
        try:
            self._through(self._embedded(images), len(self.vit.blocks))
            weights = last.att_mat[:, :, 0, 1:]
        finally:
            last.use_flash_attention, last.save_attn, last.att_mat = True, False, torch.Tensor()
        return weights / weights.sum(-1, keepdim=True)

    def _embedded(self, images: Tensor) -> Tensor:
        if images.shape[-1] % self.patch_px or images.shape[-2] % self.patch_px:
            raise ValueError(
                f"images of {tuple(images.shape[-2:])} px cannot be cut into patches of {self.patch_px} px"
            )
        patches = self._patches(images)
        tokens = patches.flatten(2).transpose(1, 2) + self._positions(*patches.shape[-2:])
        return torch.cat((self.vit.cls_token.expand(len(tokens), -1, -1), tokens), 1)

    def _patches(self, images: Tensor) -> Tensor:
        """Embeddings (B, D, rows, columns) of the patches, before positions are added."""
        return self.vit.patch_embedding.patch_embeddings((images - PIXEL_MEAN) / PIXEL_STD)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings (1, N, D) for a grid of patches."""
        known = self.vit.patch_embedding.position_embeddings
        if (rows, columns) == (self.grid, self.grid):
            return known
        grid = known.reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return grid.flatten(2).transpose(1, 2)

    def _through(self, tokens: Tensor, blocks: int) -> Tensor:
        for block in self.vit.blocks[:blocks]:
            tokens = block(tokens)
        return tokens
