"""Pool a ViT's tokens over regions: one representation for each region of a region map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmgdm_monai.data.stores.region_store import NO_REGION
from hmgdm_monai.errors import InputError


def token_weights(regions: Tensor, patch_px: int, num_regions: int) -> Tensor:
    """Share of each patch that each region covers: average pooling of the one-hot region map.

    Tokens are in the order of MONAI's patch embedding: row by row, from the top left. Pixels are counted, so the run
    time does not depend on the number of regions.

    Args:
        regions: (B, 1, H, W) uint8, values 0 to R - 1; 255 belongs to no region and is not counted.
        patch_px: side of a patch in px; divides H and W.
        num_regions: number of regions R, at most 255.

    Returns:
        (B, N, R) float32, N = (H / patch_px) (W / patch_px). The weights of a token sum to 1 minus its share without
        region.

    Raises:
        InputError: the map has another shape or type, its size is not a multiple of the patch, or a region is not below
            R.
    """
    if regions.ndim != 4 or regions.shape[1] != 1 or regions.dtype != torch.uint8:
        raise InputError(
            f"Region maps must be uint8 of shape (B, 1, H, W), not {regions.dtype} {tuple(regions.shape)}."
        )
    if not 1 <= num_regions <= NO_REGION:
        raise InputError(f"num_regions must lie between 1 and {NO_REGION}, not {num_regions}.")
    count, _, height, width = regions.shape
    if patch_px < 1 or height % patch_px or width % patch_px:
        raise InputError(f"A region map of {height} x {width} px cannot be cut into patches of {patch_px} px.")
    rows, columns = height // patch_px, width // patch_px
    # One bin for each patch and region, and one more in each patch for pixels without region.
    region = regions.reshape(count, rows, patch_px, columns, patch_px).long()
    unknown = (region >= num_regions) & (region != NO_REGION)
    if bool(unknown.any()):
        raise InputError(
            f"A region map holds region {int(region[unknown].max())}, but num_regions is {num_regions}: "
            f"regions count from 0, and {NO_REGION} means no region."
        )
    patch = torch.arange(count * rows * columns, device=regions.device).view(count, rows, 1, columns, 1)
    bins = patch * (num_regions + 1) + region.clamp_max(num_regions)
    pixels = torch.bincount(bins.flatten(), minlength=patch.numel() * (num_regions + 1))
    return pixels.view(count, rows * columns, num_regions + 1)[..., :num_regions] / patch_px**2


class MaskedPooling(nn.Module):
    """Mean of the tokens of each region, weighted by the share of each token that lies in the region.

    r_k = sum_n W_nk t_n / max(sum_n W_nk, eps), valid if sum_n W_nk >= ``min_mass``: the area of the region, in
    patches. Pooling by regions is from DiRL (Kapse et al., arXiv 2309.06439); the formula and the minimum area are
    ours.

    Args:
        min_mass: minimum area of a valid region, in patches.
        eps: minimum divisor; a region without area is represented by zeros.

    Raises:
        ValueError: a setting is not above 0, or (when called) the shapes do not match.
    """

    def __init__(self, min_mass: float = 0.5, eps: float = 1e-6) -> None:
        super().__init__()
        if min_mass <= 0 or eps <= 0:
            raise ValueError(f"min_mass and eps must be above 0, not {min_mass} and {eps}")
        self.min_mass, self.eps = min_mass, eps

    def forward(self, tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Pool the tokens of each region.

        Args:
            tokens: (B, N, D).
            weights: (B, N, R), output of :func:`token_weights`.

        Returns:
            Region representations (B, R, D) in the type of the tokens, and their validity (B, R) bool.
        """
        if tokens.shape[:2] != weights.shape[:2]:
            raise ValueError(f"weights of {tuple(weights.shape[:2])} (images, tokens) for {tuple(tokens.shape[:2])}")
        mass = weights.sum(1)
        shares = weights / mass.clamp_min(self.eps).unsqueeze(1)
        return shares.transpose(1, 2).to(tokens.dtype) @ tokens, mass >= self.min_mass
