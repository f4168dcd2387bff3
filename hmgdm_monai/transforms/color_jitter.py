"""Random changes of color and sharpness of stained images, for a whole batch at once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_DRAWS = 10  # random numbers in [0, 1) per image


class ColorJitter:
    """Change stain, contrast, brightness and blur of H&E images, from random numbers drawn by the caller.

    The steps, in this order, with u uniform in [-1, 1]:

    - stain: optical density is split into hematoxylin, eosin and a third stain (scikit-image's matrix, of Ruifrok
      and Johnston); each becomes c (1 + ``stain_scale`` u) + ``stain_shift`` u' (Tellez et al., IEEE TMI 2018). All of
      it is one affine map of optical density (natural logarithm). The shift moves blank background too.
    - contrast: x becomes m + (1 + ``contrast`` u) (x - m), with m the image's mean over pixels and channels.
    - brightness: x becomes (1 + ``brightness`` u) x.
    - blur: with ``blur_probability``, a Gaussian of a standard deviation uniform in ``blur_sigma_px``, with mirrored
      borders.

    Values are clipped to [0, 1] after stain and at the end. A step with strength 0 is skipped.

    Args:
        stain_scale: strength of the multiplicative change of each stain, in [0, 1).
        stain_shift: strength of the additive change of each stain, in units of optical density.
        brightness: strength, in [0, 1).
        contrast: strength, in [0, 1).
        blur_probability: share of images that are blurred.
        blur_sigma_px: minimum and maximum standard deviation, in px of the view.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        stain_scale: float = 0.2,
        stain_shift: float = 0.05,
        brightness: float = 0.2,
        contrast: float = 0.2,
        blur_probability: float = 0.3,
        blur_sigma_px: tuple[float, float] = (0.2, 1.0),
    ) -> None:
        strengths = {"stain_scale": stain_scale, "brightness": brightness, "contrast": contrast}
        for name, value in strengths.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {value}")
        if stain_shift < 0 or not 0 <= blur_probability <= 1:
            raise ValueError(
                f"need stain_shift >= 0, blur_probability in [0, 1], got {stain_shift}, {blur_probability}"
            )
        if not 0 < blur_sigma_px[0] <= blur_sigma_px[1]:
            raise ValueError(f"blur_sigma_px must be (least, largest), both above 0, not {tuple(blur_sigma_px)}")
        self.stain_scale, self.stain_shift = stain_scale, stain_shift
        self.brightness, self.contrast = brightness, contrast
        self.blur_probability, self.blur_sigma_px = blur_probability, (blur_sigma_px[0], blur_sigma_px[1])
        self.stains, self.unmix = _stain_matrices()

    @property
    def least_size_px(self) -> int:
        """Minimum side of an image that can be blurred: the mirrored border must fit into it."""
        return 1 if self.blur_probability == 0 else self._radius_px + 1

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Jitter N images, each with its own random numbers.

        Args:
            images: (N, 3, H, W) float, 0 to 255.
            draws: (N, 10) in [0, 1).

        Returns:
            (N, 3, H, W) float in [0, 1], a new tensor.
        """
        draws = draws.to(images)
        change = 2 * draws - 1
        if self.stain_scale > 0 or self.stain_shift > 0:
            images = self._stain(images, change[:, :6])
        else:
            images = images / 255
        if self.contrast > 0:
            mean = images.mean((1, 2, 3), keepdim=True)
            factor = 1 + self.contrast * change[:, 6].view(-1, 1, 1, 1)
            images = images * factor + mean * (1 - factor)
        if self.brightness > 0:
            images = images * (1 + self.brightness * change[:, 7].view(-1, 1, 1, 1))
        chosen = (draws[:, 8] < self.blur_probability).nonzero()[:, 0]
        if len(chosen):
            least, largest = self.blur_sigma_px
            blurred = self._blur(images[chosen], least + (largest - least) * draws[chosen, 9])
            images = images.index_copy(0, chosen, blurred)
        return images.clamp_(0, 1)

    def _stain(self, images: Tensor, change: Tensor) -> Tensor:
        # Columns are colors: d' = S^T (a * (S^-T d) + b) for optical densities d, with a row of S for each stain.
        stains, unmix = self.stains.to(images), self.unmix.to(images)
        scale, shift = 1 + self.stain_scale * change[:, :3], self.stain_shift * change[:, 3:]
        matrix = stains.T @ (scale.unsqueeze(-1) * unmix.T)
        light = ((images + 1) / 256).log_().flatten(2)  # minus the optical density; 1 keeps black finite
        light = torch.baddbmm(-(shift @ stains).unsqueeze(-1), matrix, light).exp_()
        return light.mul_(256 / 255).sub_(1 / 255).clamp_(0, 1).view_as(images)

    @property
    def _radius_px(self) -> int:
        return math.ceil(3 * self.blur_sigma_px[1])

    def _blur(self, images: Tensor, sigma_px: Tensor) -> Tensor:
        radius = self._radius_px
        offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
        kernels = torch.softmax(-0.5 * (offsets / sigma_px.unsqueeze(-1)) ** 2, -1)  # (N, 2 r + 1), each sums to 1
        kernels = kernels.repeat_interleave(3, 0).view(-1, 1, 1, 2 * radius + 1)
        # Each channel of each image is one group: all are blurred in one call, each with its own kernel.
        padded = F.pad(images, (radius,) * 4, mode="reflect").flatten(0, 1).unsqueeze(0)
        rows = F.conv2d(padded, kernels, groups=len(kernels))
        return F.conv2d(rows, kernels.transpose(2, 3), groups=len(kernels)).view_as(images)


def _stain_matrices() -> tuple[Tensor, Tensor]:
    from skimage.color import hed_from_rgb, rgb_from_hed  # slow to import

    return torch.from_numpy(rgb_from_hed.copy()).float(), torch.from_numpy(hed_from_rgb.copy()).float()
