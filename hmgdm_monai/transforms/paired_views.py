"""Two random views of a tile, with the same geometric changes for the image and its region map."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable
from monai.utils import convert_to_tensor, ensure_tuple
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.color_jitter import NUM_DRAWS, ColorJitter

_PLACE_DRAWS = 6  # random numbers for area, ratio, top, left, quarter turns, mirror


class View(NamedTuple):
    """One view: image (3, s, s) float32 in [0, 1] and regions (1, s, s) uint8; in a batch both with a leading B."""

    image: Tensor
    regions: Tensor


class PairedViews:
    """Create two views of each tile: image and region map are cropped, rotated and mirrored alike, colors are changed.

    The share of the tile's area in the crop is uniform in ``scale``. The ratio of width to height is log-uniform in
    the part of ``ratio`` that fits into the tile, so no draw is rejected and each view uses the same number of draws.
    The crop is resized to ``size_px``, the image linearly with antialiasing, the region map by nearest neighbor. Both
    place the center of a pixel at (column + 0.5, row + 0.5), so image and map stay aligned within half a tile pixel.
    Quarter turns and a mirror then give all eight orientations with equal probability. The color steps are those of
    :class:`~hmgdm_monai.transforms.color_jitter.ColorJitter`.

    All randomness comes from the given generator. The images of a batch draw one after the other, so a batch gives the
    same views as its tiles one by one.

    Args:
        size_px: side s of a view in px.
        scale: minimum and maximum share of the tile's area, 0 < minimum <= maximum <= 1.
        ratio: minimum and maximum ratio of width to height of the crop, with 1 between them.
        flips: whether views are mirrored at random.
        rotations: whether views are rotated by 0, 90, 180 or 270 degrees at random.
        **color: arguments of :class:`~hmgdm_monai.transforms.color_jitter.ColorJitter`: ``stain_scale``,
            ``stain_shift``, ``brightness``, ``contrast``, ``blur_probability``, ``blur_sigma_px``.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        size_px: int = 128,
        scale: tuple[float, float] = (0.4, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flips: bool = True,
        rotations: bool = True,
        **color: Any,
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be (least, largest) share of the tile's area, in (0, 1], not {tuple(scale)}")
        if not 0 < ratio[0] <= 1 <= ratio[1]:
            raise ValueError(f"ratio must be (least, largest) with 1 between them, not {tuple(ratio)}")
        self.size_px, self.scale, self.ratio = size_px, tuple(scale), tuple(ratio)
        self.flips, self.rotations = flips, rotations
        self.color = ColorJitter(**color)
        if size_px < self.color.least_size_px:
            raise ValueError(f"size_px must be at least {self.color.least_size_px} for this blur, not {size_px}")

    def __call__(self, image: Tensor, regions: Tensor, generator: torch.Generator) -> tuple[View, View]:
        """Create two views of one tile.

        Args:
            image: (3, S, S) uint8.
            regions: (1, S, S) uint8, the region of each pixel; 255 = no region.
            generator: random generator on the CPU.

        Returns:
            Two views, image (3, s, s) and regions (1, s, s), on the tile's device.

        Raises:
            InputError: the tile has another shape or type, or the region map another size than the tile.
        """
        first, second = self.batch(image[None], regions[None], generator)
        return View(first.image[0], first.regions[0]), View(second.image[0], second.regions[0])

    def batch(self, images: Tensor, regions: Tensor, generator: torch.Generator) -> tuple[View, View]:
        """Create two views of each of B tiles.

        Args:
            images: (B, 3, S, S) uint8.
            regions: (B, 1, S, S) uint8.
            generator: random generator on the CPU.

        Returns:
            Two views, images (B, 3, s, s) and regions (B, 1, s, s), on the tiles' device.

        Raises:
            InputError: tiles or region maps have another shape or type, or different sizes.
        """
        _check(images, regions)
        draws = torch.rand(len(images), 2, _PLACE_DRAWS + NUM_DRAWS, generator=generator)
        views = []
        for v in range(2):
            places = [self._place(row, images.shape[-1]) for row in draws[:, v, :_PLACE_DRAWS].tolist()]
            image = torch.cat([self._cut(images[i : i + 1], *place, linear=True) for i, place in enumerate(places)])
            labels = torch.cat([self._cut(regions[i : i + 1], *place, linear=False) for i, place in enumerate(places)])
            views.append(View(self.color(image, draws[:, v, _PLACE_DRAWS:]), labels))
        return views[0], views[1]

    def _place(self, draws: list[float], side_px: int) -> tuple[int, int, int, int, int, bool]:
        """Draw top, left, height and width of the crop, the number of quarter turns, and whether it is mirrored."""
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[0]
        # Ratios between area and 1 / area fit into a square tile.
        least, largest = math.log(max(self.ratio[0], area)), math.log(min(self.ratio[1], 1 / area))
        ratio = math.exp(least + (largest - least) * draws[1])
        height = min(max(round(side_px * math.sqrt(area / ratio)), 1), side_px)
        width = min(max(round(side_px * math.sqrt(area * ratio)), 1), side_px)
        top, left = int(draws[2] * (side_px - height + 1)), int(draws[3] * (side_px - width + 1))
        return top, left, height, width, int(4 * draws[4]) * self.rotations, self.flips and draws[5] < 0.5

    def _cut(
        self, planes: Tensor, top: int, left: int, height: int, width: int, turns: int, mirror: bool, *, linear: bool
    ) -> Tensor:
        """Crop and resize (1, C, S, S) to (1, C, s, s): linear gives float32, nearest keeps the type."""
        planes = planes[..., top : top + height, left : left + width]
        size = (self.size_px, self.size_px)
        if linear:
            planes = F.interpolate(planes.float(), size, mode="bilinear", align_corners=False, antialias=True)
        else:
            planes = F.interpolate(planes, size, mode="nearest-exact")
        planes = torch.rot90(planes, turns, (-2, -1))
        return planes.flip(-1) if mirror else planes


class PairedViewsd(Randomizable, MapTransform):
    """Dictionary version of :class:`PairedViews`, seeded like MONAI's random transforms (``set_random_state``).

    Args:
        keys: the keys of the tile and of its region map, in this order.
        view_names: suffixes of both keys for the first and the second view: ``image_1``, ``regions_1`` ...
        allow_missing_keys: if one of the two keys is missing, return the dictionary unchanged instead of raising.
        **settings: arguments of :class:`PairedViews`.

    Raises:
        ValueError: there are not two keys and two names, or a setting is out of range.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "regions"),
        view_names: tuple[str, str] = ("1", "2"),
        allow_missing_keys: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.view_names = ensure_tuple(view_names)
        if len(self.keys) != 2 or len(self.view_names) != 2:
            raise ValueError(f"need the keys of a tile and its regions, and two names, not {self.keys}, {view_names}")
        self.views = PairedViews(**settings)
        self.generator = torch.Generator()

    def randomize(self, data: Any = None) -> None:
        """Seed the generator of the next tile from MONAI's random state."""
        self.generator.manual_seed(int(self.R.randint(2**31)))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with four keys added: image and regions of both views."""
        d = dict(data)
        if len(list(self.key_iterator(d))) < 2:
            return d
        self.randomize()
        image, regions = (convert_to_tensor(d[key], track_meta=False) for key in self.keys)
        for name, view in zip(self.view_names, self.views(image, regions, self.generator), strict=True):
            for key, part in zip(self.keys, view, strict=True):
                d[f"{key}_{name}"] = part
        return d


def _check(images: Tensor, regions: Tensor) -> None:
    shape = images.shape
    if images.ndim != 4 or shape[1] != 3 or shape[2] != shape[3] or images.dtype != torch.uint8 or images.numel() == 0:
        raise InputError(f"A tile must be square, uint8 of shape (3, S, S), not {images.dtype} {tuple(shape[1:])}.")
    if regions.shape != (len(images), 1, *shape[2:]) or regions.dtype != torch.uint8:
        raise InputError(
            f"The region map of a tile of {shape[2]} px must be uint8 of shape (1, {shape[2]}, {shape[3]}), "
            f"not {regions.dtype} {tuple(regions.shape[1:])}: give the map of this tile."
        )
