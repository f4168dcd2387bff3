"""Degrade a tile as another laboratory, scanner or archive could have done: stain, focus, compression."""

from __future__ import annotations

import io
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, Transform
from PIL import Image
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.color_jitter import NUM_DRAWS, ColorJitter


class RandDegrade(Randomizable, Transform):
    """Randomly change the stain of a tile, blur it and compress it, within limits; its geometry does not change.

    Stain and blur are those of :class:`~hmgdm_monai.transforms.color_jitter.ColorJitter`; then, with
    ``jpeg_probability``, the tile is compressed and decoded. Seeded like MONAI's random transforms
    (``set_random_state``).

    Args:
        stain_scale: strength of the multiplicative change of each stain, in [0, 1).
        blur_probability: share of tiles that are blurred.
        blur_sigma_px: minimum and maximum standard deviation of the Gaussian, in px of the tile.
        jpeg_probability: share of tiles that are compressed.
        jpeg_quality: minimum and maximum quality, 1 to 95.

    Raises:
        InputError: a setting is out of range.
    """

    def __init__(
        self,
        stain_scale: float = 0.2,
        blur_probability: float = 0.4,
        blur_sigma_px: tuple[float, float] = (0.5, 2.0),
        jpeg_probability: float = 0.4,
        jpeg_quality: tuple[int, int] = (10, 60),
    ) -> None:
        if not 0 <= jpeg_probability <= 1 or not 1 <= jpeg_quality[0] <= jpeg_quality[1] <= 95:
            raise InputError(
                "degrade: need jpeg_probability in [0, 1] and jpeg_quality of least and largest from 1 to 95, got "
                f"{jpeg_probability} and {tuple(jpeg_quality)}"
            )
        try:
            self.jitter = ColorJitter(stain_scale, 0.0, 0.0, 0.0, blur_probability, blur_sigma_px)
        except ValueError as error:
            raise InputError(f"degrade: {error}") from error
        self.jpeg_probability, self.jpeg_quality = jpeg_probability, (jpeg_quality[0], jpeg_quality[1])
        self._draws = torch.zeros(1, NUM_DRAWS)
        self._quality: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, as JSON values."""
        return {
            "stain_scale": self.jitter.stain_scale,
            "blur_probability": self.jitter.blur_probability,
            "blur_sigma_px": list(self.jitter.blur_sigma_px),
            "jpeg_probability": self.jpeg_probability,
            "jpeg_quality": list(self.jpeg_quality),
        }

    def blurring(self) -> RandDegrade:
        """A transform that only blurs, every tile, within the stronger half of this one's limits."""
        least, largest = self.jitter.blur_sigma_px
        return RandDegrade(0.0, 1.0, ((least + largest) / 2, largest), 0.0, self.jpeg_quality)

    def compressing(self) -> RandDegrade:
        """A transform that only compresses, every tile, within the stronger half of this one's limits."""
        least, largest = self.jpeg_quality
        return RandDegrade(0.0, 0.0, self.jitter.blur_sigma_px, 1.0, (least, (least + largest) // 2))

    def randomize(self, data: Any = None) -> None:
        """Draw the changes of the next tile."""
        self._draws = torch.from_numpy(self.R.random_sample((1, NUM_DRAWS)).astype(np.float32))
        least, largest = self.jpeg_quality
        chosen, quality = self.R.random_sample() < self.jpeg_probability, int(self.R.randint(least, largest + 1))
        self._quality = quality if chosen else None

    def __call__(self, image: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """Degrade a tile (3, H, W) uint8; returns a new one of the same type and shape.

        Raises:
            InputError: the tile has another shape or type, or is too small for the blur.
        """
        is_tensor = isinstance(image, Tensor)
        planes = torch.as_tensor(image)
        if planes.ndim != 3 or planes.shape[0] != 3 or planes.dtype != torch.uint8:
            raise InputError(f"degrade: a tile must be (3, H, W) uint8, not {tuple(planes.shape)} {planes.dtype}")
        if min(planes.shape[1:]) < self.jitter.least_size_px:
            least = self.jitter.least_size_px
            raise InputError(f"degrade: this blur needs tiles of {least} px or more, not {tuple(planes.shape[1:])}")
        self.randomize()
        changed = self.jitter(planes[None].float(), self._draws)[0]
        pixels = changed.mul(255).round_().to(torch.uint8)
        if self._quality is not None:
            pixels = torch.from_numpy(_compressed(pixels.numpy(), self._quality))
        return pixels if is_tensor else pixels.numpy()


class RandDegraded(MapTransform, Randomizable):
    """Dictionary version of :class:`RandDegrade`; the changes are drawn separately for each key.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        allow_missing_keys: skip missing keys instead of raising.
        **settings: arguments of :class:`RandDegrade`.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **settings: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.degrade = RandDegrade(**settings)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandDegraded:
        """Seed the random numbers, as in MONAI."""
        super().set_random_state(seed, state)
        self.degrade.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with degraded tiles."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.degrade(d[key])
        return d


def _compressed(planes: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(planes.transpose(1, 2, 0).copy()).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1).copy()
