"""A tile as another laboratory, scanner or archive might have left it: stain, focus, compression."""

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
    """Change stain, blur and compress a tile at random, each within limits; where things lie stays as it is.

    Stain and blur are :class:`~hmgdm_monai.transforms.color_jitter.ColorJitter`'s; then, with ``jpeg_probability``,
    the tile is compressed and opened again. Seeded as MONAI's random transforms are (``set_random_state``).

    Args:
        stain_scale: strength of the multiplicative change of each stain, in [0, 1).
        blur_probability: share of tiles that are blurred.
        blur_sigma_px: least and largest standard deviation of the Gaussian, px of the tile.
        jpeg_probability: share of tiles that are compressed.
        jpeg_quality: least and largest quality, 1 to 95.

    Raises:
        InputError: a setting out of its range.
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
        """The arguments, as values that JSON knows."""
        return {
            "stain_scale": self.jitter.stain_scale,
            "blur_probability": self.jitter.blur_probability,
            "blur_sigma_px": list(self.jitter.blur_sigma_px),
            "jpeg_probability": self.jpeg_probability,
            "jpeg_quality": list(self.jpeg_quality),
        }

    def blurring(self) -> RandDegrade:
        """One that blurs every tile, within the stronger half of this one's limits, and does nothing else."""
        least, largest = self.jitter.blur_sigma_px
        return RandDegrade(0.0, 1.0, ((least + largest) / 2, largest), 0.0, self.jpeg_quality)

    def compressing(self) -> RandDegrade:
        """One that compresses every tile, within the stronger half of this one's limits, and does nothing else."""
        least, largest = self.jpeg_quality
        return RandDegrade(0.0, 0.0, self.jitter.blur_sigma_px, 1.0, (least, (least + largest) // 2))

    def randomize(self, data: Any = None) -> None:
        """Draw what happens to the next tile."""
        self._draws = torch.from_numpy(self.R.random_sample((1, NUM_DRAWS)).astype(np.float32))
        least, largest = self.jpeg_quality
        chosen, quality = self.R.random_sample() < self.jpeg_probability, int(self.R.randint(least, largest + 1))
        self._quality = quality if chosen else None

    def __call__(self, image: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """(3, H, W) uint8 -> the same type and shape, a new one.

        Raises:
            InputError: another shape or type, or a tile too small for the blur.
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
    """Dictionary version of :class:`RandDegrade`; each key is drawn for on its own.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        allow_missing_keys: pass over keys that are not there.
        **settings: arguments of :class:`RandDegrade`.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **settings: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.degrade = RandDegrade(**settings)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandDegraded:
        """Seed the draws, as MONAI does."""
        super().set_random_state(seed, state)
        self.degrade.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the dictionary with degraded tiles."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.degrade(d[key])
        return d


def _compressed(planes: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(planes.transpose(1, 2, 0).copy()).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1).copy()
