"""Reader of slides for MONAI's transforms and datasets; the tags of a file decide which library reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from monai.data.wsi_reader import BaseWSIReader
from monai.utils import ensure_tuple, ensure_tuple_rep

from hmgdm_monai.data.slides.objective import objective_power
from hmgdm_monai.data.slides.scale import SQUARE_TOLERANCE
from hmgdm_monai.data.slides.slide import Slide, open_slide
from hmgdm_monai.errors import InputError

OPAQUE = 255


@dataclass(frozen=True)
class SlideAtMpp:
    """A slide with one level added to its pyramid: the last level, at any microns per pixel.

    Attributes:
        slide: the slide.
        mpp: microns per pixel of the last level.
    """

    slide: Slide
    mpp: float


class TaggedWSIReader(BaseWSIReader):
    """MONAI's reader interface for :func:`~hmgdm_monai.data.slides.slide.open_slide`.

    The tags of a file decide which library reads it, cuCIM first. If no level has the requested mpp, the next finer
    level is resampled, where MONAI's own readers raise; ``level`` in the metadata is then the number of levels. Pixels
    outside the slide are white. Slides can be pickled, for the workers of a data loader.

    Args:
        level: level of the pyramid that ``get_data`` reads by default.
        mpp: microns per pixel to read, instead of ``level``; one number, or two equal numbers.
        power: objective power to read, for example 10, instead of ``level``.
        slide_mpp: microns per pixel of level 0, for files without it; overrides the value in the file.
        kwargs: other arguments of ``BaseWSIReader`` (``mpp_rtol``, ``power_rtol``, ``channel_dim``, ``dtype``,
            ``device``, ``mode``, ...) and of ``open_slide`` (``backend``, ``max_image_px``).

    Raises:
        InputError: more than one of ``level``, ``mpp`` and ``power`` is given.
    """

    supported_suffixes = ["tif", "tiff", "svs", "ndpi", "mrxs", "scn", "bif", "vms", "svslide", "png", "jpg", "jpeg"]
    backend = "tags"

    def __init__(
        self,
        level: int | None = None,
        mpp: float | tuple[float, float] | None = None,
        power: int | None = None,
        slide_mpp: float | None = None,
        **kwargs: Any,
    ) -> None:
        given = [name for name, value in (("level", level), ("mpp", mpp), ("power", power)) if value is not None]
        if len(given) > 1:
            raise InputError(
                f"a slide is read by one of level, mpp and power, not by {' and '.join(given)}; MONAI's patch datasets "
                "read only by level"
            )
        super().__init__(level=level, mpp=mpp, power=power, **kwargs)
        self.slide_mpp = slide_mpp

    def read(self, data: Sequence[os.PathLike | str] | os.PathLike | str, **kwargs: Any) -> Slide | list[Slide]:
        """Open slides.

        Args:
            data: path of one slide, or a sequence of paths.
            kwargs: arguments of ``open_slide``; they override those of the constructor.

        Returns:
            The slide, or a list if there are several.

        Raises:
            InputError: see :func:`~hmgdm_monai.data.slides.slide.open_slide`.
        """
        options = {"mpp": self.slide_mpp, **self.kwargs, **kwargs}
        slides = [open_slide(path, **options) for path in ensure_tuple(data)]
        return slides if len(slides) > 1 else slides[0]

    def get_data(
        self,
        wsi: Any,
        location: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
        level: int | None = None,
        mpp: float | tuple[float, float] | None = None,
        power: int | None = None,
        mode: str | None = None,
    ) -> tuple[np.ndarray, dict]:
        """Read a region of one slide, or of each of several; see ``BaseWSIReader.get_data``.

        Args:
            wsi: output of :meth:`read`.
            location: (top, left) in level-0 pixels.
            size: (height, width) in output pixels; None for the whole slide.
            level: level of the pyramid; None uses the value of the constructor.
            mpp: microns per pixel; None uses the value of the constructor.
            power: objective power; None uses the value of the constructor.
            mode: "RGB" or "RGBA"; None uses the value of the constructor.

        Returns:
            Pixels (3, H, W), channels at ``channel_dim``, and the metadata.

        Raises:
            InputError: the slide's mpp or power is unknown, or it cannot be decoded.
            ValueError: more than one of ``level``, ``mpp`` and ``power`` is given, the level or power does not exist,
                or the location is outside the slide.
        """
        if level is None and power is None and (self.level is None and self.power is None or mpp is not None):
            wanted = self.mpp if mpp is None else mpp
            if wanted is not None:
                slides = [self._with_level_at(slide, wanted) for slide in ensure_tuple(wsi)]
                wsi, mpp = slides if len(slides) > 1 else slides[0], wanted
        return super().get_data(wsi, location, size, level, mpp, power, mode)

    def get_wsi_at_mpp(
        self, wsi: Slide, mpp: float | tuple[float, float], atol: float = 0.0, rtol: float = 0.05
    ) -> np.ndarray:
        """The whole slide at any microns per pixel, as in MONAI's other readers.

        Args:
            wsi: output of :meth:`read`.
            mpp: microns per pixel.
            atol: maximum absolute difference, in um, at which a level is read without resampling.
            rtol: maximum difference relative to ``mpp``.

        Returns:
            Pixels (3, H, W) uint8, channels at ``channel_dim``.

        Raises:
            InputError: the slide's mpp is unknown, or it cannot be decoded.
        """
        view = self._with_level_at(wsi, mpp, atol, rtol)
        level = self._find_closest_level("mpp", ensure_tuple_rep(mpp, 2), self._mpps(view), atol, rtol)
        return self._get_patch(view, (0, 0), self.get_size(view, level), level, np.uint8, "RGB")

    def get_level_count(self, wsi: Slide | SlideAtMpp) -> int:
        """Number of levels, including the added one."""
        return len(_slide(wsi).level_sizes_px) + isinstance(wsi, SlideAtMpp)

    def get_size(self, wsi: Slide | SlideAtMpp, level: int) -> tuple[int, int]:
        """(height, width) of a level in pixels."""
        if _is_extra(wsi, level):
            downsample = self.get_downsample_ratio(wsi, level)
            width, height = (max(1, round(side / downsample)) for side in wsi.slide.dimensions_px)
        else:
            width, height = _slide(wsi).level_sizes_px[level]
        return height, width

    def get_downsample_ratio(self, wsi: Slide | SlideAtMpp, level: int) -> float:
        """Level-0 pixels per pixel of a level."""
        return wsi.slide.downsample_at(wsi.mpp) if _is_extra(wsi, level) else _slide(wsi).level_downsamples[level]

    def get_file_path(self, wsi: Slide | SlideAtMpp) -> str:
        """Absolute path of the file."""
        return os.path.abspath(_slide(wsi).path)

    def get_mpp(self, wsi: Slide | SlideAtMpp, level: int) -> tuple[float, float]:
        """Microns per pixel of a level, along both axes.

        Raises:
            InputError: the slide's mpp is unknown.
        """
        if _is_extra(wsi, level):
            return wsi.mpp, wsi.mpp
        slide = _slide(wsi)
        if slide.mpp is None:
            raise InputError(f"{slide.path}: microns per pixel unknown; give slide_mpp to the reader, or read by level")
        return (slide.mpp * slide.level_downsamples[level],) * 2

    def get_power(self, wsi: Slide | SlideAtMpp, level: int) -> float:
        """Objective power of a level.

        Raises:
            InputError: the objective power of level 0 is unknown.
        """
        power = objective_power(_slide(wsi).path)
        if power is None:
            raise InputError(f"{_slide(wsi).path}: objective power unknown; read it by level or mpp")
        return power / self.get_downsample_ratio(wsi, level)

    def _get_patch(
        self,
        wsi: Slide | SlideAtMpp,
        location: tuple[int, int],
        size: tuple[int, int],
        level: int,
        dtype: Any,
        mode: str,
    ) -> np.ndarray:
        """Pixels of a region; see ``BaseWSIReader``."""
        (top, left), (height, width) = location, (int(side) for side in size)
        if _is_extra(wsi, level):
            pixels = wsi.slide.read_region(left, top, width, height, wsi.mpp)
        else:
            slide = _slide(wsi)
            (full_width, full_height), (level_width, level_height) = slide.dimensions_px, slide.level_sizes_px[level]
            x, y = round(left * level_width / full_width), round(top * level_height / full_height)
            pixels = slide.read_level(level, x, y, width, height)
        if mode == "RGBA":
            pixels = np.concatenate((pixels, np.full_like(pixels[..., :1], OPAQUE)), -1)
        return np.moveaxis(pixels.astype(dtype, copy=False), -1, self.channel_dim)

    def _mpps(self, wsi: Slide | SlideAtMpp) -> list[tuple[float, float]]:
        return [self.get_mpp(wsi, level) for level in range(self.get_level_count(wsi))]

    def _with_level_at(
        self,
        slide: Slide,
        mpp: float | tuple[float, float],
        atol: float | None = None,
        rtol: float | None = None,
    ) -> Slide | SlideAtMpp:
        """The slide itself if one of its levels is close enough to ``mpp``, otherwise the slide with an added level."""
        x, y = (float(axis) for axis in ensure_tuple_rep(mpp, 2))
        if max(x, y) > min(x, y) * (1 + SQUARE_TOLERANCE):
            raise InputError(f"{slide.path}: mpp must be the same along both axes, not {x:g} and {y:g}")
        slack = (self.mpp_atol if atol is None else atol) + (self.mpp_rtol if rtol is None else rtol) * x
        if any(abs(have - x) <= slack for have, _ in self._mpps(slide)):
            return slide
        return SlideAtMpp(slide, x)


def _slide(wsi: Slide | SlideAtMpp) -> Slide:
    return wsi.slide if isinstance(wsi, SlideAtMpp) else wsi


def _is_extra(wsi: Slide | SlideAtMpp, level: int) -> TypeGuard[SlideAtMpp]:
    """Whether a level is the added one."""
    return isinstance(wsi, SlideAtMpp) and level == len(wsi.slide.level_sizes_px)
