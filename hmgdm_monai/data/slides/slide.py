"""Read any region of any supported slide at any microns per pixel, as RGB."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hmgdm_monai.data.slides.backend import SlideBackend
from hmgdm_monai.data.slides.backends import BACKENDS, open_backend
from hmgdm_monai.data.slides.image_backend import image_limit_px
from hmgdm_monai.data.slides.resampling import centered, resample, support
from hmgdm_monai.data.slides.scale import UNKNOWN, WANTED, plausible_mpp, square_mpp
from hmgdm_monai.data.slides.tags import read_slide_tags
from hmgdm_monai.errors import InputError

WHITE = 255
LEVEL_SLACK = 0.01  # a level up to this much coarser than requested still counts as fine enough
MAX_DRIFT_PX = 1.0  # a level is read without resampling if a region's size on it differs by at most this
THUMBNAIL_BAND_BYTES = 64 * 2**20

# Handles that a forked child inherited from its parent: not used (their threads are gone) and not destroyed.
_INHERITED: list[SlideBackend] = []


class Slide:
    """One slide or plain image, read on demand and safely from any process.

    Each process opens the file itself, so a `Slide` can be pickled, and used before and after a fork. cuCIM reads the
    files that it reads correctly, OpenSlide or tifffile the others, and Pillow plain images. The tags of the file
    decide, before any of these opens it. For all backends, regions outside the slide are white.

    Args:
        path: path of the file.
        mpp: microns per pixel of level 0, 0.05 to 20; overrides the value in the file. None: use the file's value.
        backend: "cucim", "openslide", "tifffile" or "image"; None chooses by the tags.
        max_image_px: see :func:`open_slide`.

    Attributes:
        path: path of the file.
        backend: "cucim", "openslide", "tifffile" or "image" (a PNG or JPEG, completely in memory).
        plain: whether it is a single image and not a slide: PNG, JPEG, or a TIFF without tiles and pyramid.
        mpp: microns per pixel of level 0; None if neither the file nor the manifest gives it.
        dimensions_px: (width, height) of level 0.
        level_sizes_px: (width, height) of each level.
        level_downsamples: level-0 pixels per pixel of each level.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mpp: float | None = None,
        backend: str | None = None,
        max_image_px: int | None = None,
    ) -> None:
        self.path = Path(path)
        if mpp is not None and plausible_mpp(mpp) is None:
            raise InputError(f"{self.path}: mpp must be {WANTED}, not {mpp:g}")
        self.max_image_px = image_limit_px(max_image_px)
        tags = read_slide_tags(self.path, self.max_image_px)
        self.plain = tags.plain
        self.backend, handle = open_backend(self.path, tags, backend, self.max_image_px)
        self._handle: SlideBackend | None = handle
        self._handle_pid = os.getpid()
        self.mpp = mpp or square_mpp(self.path, tags.mpp_xy if tags.mpp_xy != UNKNOWN else handle.mpp_xy)
        self.level_sizes_px = list(handle.level_sizes_px)
        self.dimensions_px = self.level_sizes_px[0]
        self.level_downsamples = [float(np.mean(self._level_scale(level))) for level in range(len(self.level_sizes_px))]

    def read_region(
        self, x_px: float, y_px: float, width_px: int, height_px: int, mpp: float | None = None
    ) -> np.ndarray:
        """Read one region.

        Args:
            x_px: left edge in level-0 pixels; may lie outside the slide.
            y_px: upper edge in level-0 pixels; may lie outside the slide.
            width_px: width in output pixels.
            height_px: height in output pixels.
            mpp: microns per output pixel; None reads level 0. If no level has this scale, the nearest finer level is
                resampled. If the mpp of a plain PNG or JPEG is unknown, the requested mpp is assumed.

        Returns:
            (height, width, 3) uint8 RGB, white outside the slide.

        Raises:
            InputError: mpp is given but the slide's own mpp is unknown, or the file cannot be decoded.
        """
        level, scale, as_is = self._plan(mpp, max(width_px, height_px))
        corner = self._on_level(level, np.array([[x_px, y_px]], dtype=np.float64))
        if as_is:
            x, y = centered(corner, width_px, height_px, scale)[0].tolist()
            return self.read_level(level, x, y, width_px, height_px)
        x, y = corner[0].tolist()
        return self._read_scaled(level, x, y, width_px, height_px, scale)

    def read_regions(
        self, locations: np.ndarray, size_px: int, mpp: float | None = None, num_workers: int = 1
    ) -> np.ndarray:
        """Read many square regions of one size, decoded in `num_workers` threads.

        Args:
            locations: (N, 2) top-left corners (x, y) in level-0 pixels.
            size_px: side in output pixels.
            mpp: microns per output pixel, as in :meth:`read_region`.
            num_workers: number of decoding threads.

        Returns:
            (N, size, size, 3) uint8; the same pixels as N calls of :meth:`read_region`.
        """
        locations = np.asarray(locations, dtype=np.float64).reshape(-1, 2)
        level, scale, as_is = self._plan(mpp, size_px)
        corners = self._on_level(level, locations)
        if as_is:
            first, read_w, read_h = centered(corners, size_px, size_px, scale), size_px, size_px
        else:
            first, read_w, read_h = self._support(corners, size_px, size_px, scale)
        level_w, level_h = self.level_sizes_px[level]
        inside = (first >= 0).all(1) & (first[:, 0] + read_w <= level_w) & (first[:, 1] + read_h <= level_h)
        out = np.empty((len(locations), size_px, size_px, 3), dtype=np.uint8)
        with self._reading():
            many = self._opened().read_many(level, first[inside], read_w, read_h, num_workers)
            for i, pixels in zip(np.flatnonzero(inside), many, strict=True):
                out[i] = pixels if as_is else resample(pixels, corners[i] - first[i], size_px, size_px, scale)
        for i in np.flatnonzero(~inside):
            pixels = self.read_level(level, int(first[i, 0]), int(first[i, 1]), read_w, read_h)
            out[i] = pixels if as_is else resample(pixels, corners[i] - first[i], size_px, size_px, scale)
        return out

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a rectangle of a level without resampling.

        Args:
            level: level of the pyramid, from 0.
            x: left edge in pixels of that level; may lie outside the level.
            y: upper edge in pixels of that level; may lie outside the level.
            width: width in pixels of that level.
            height: height in pixels of that level.

        Returns:
            (height, width, 3) uint8 RGB, white outside the level.

        Raises:
            InputError: the file cannot be decoded.
        """
        level_w, level_h = self.level_sizes_px[level]
        left, top, right, bottom = max(0, x), max(0, y), min(level_w, x + width), min(level_h, y + height)
        whole = (left, top, right, bottom) == (x, y, x + width, y + height)
        out = np.empty((0, 0, 3), np.uint8) if whole else np.full((height, width, 3), WHITE, dtype=np.uint8)
        if left < right and top < bottom:
            with self._reading():
                pixels = self._opened().read(level, left, top, right - left, bottom - top)
            if whole:
                return np.array(pixels)  # copy, because some backends return a view of their cache
            out[top - y : bottom - y, left - x : right - x] = pixels
        return out

    def thumbnail(self, max_px: int) -> tuple[np.ndarray, float]:
        """The whole slide, with at most `max_px` pixels on its longer side.

        Args:
            max_px: maximum length of the longer side in pixels.

        Returns:
            (h, w, 3) uint8, and the level-0 pixels per thumbnail pixel (at least 1).
        """
        width, height = self.dimensions_px
        downsample = max(1.0, max(width, height) / max_px)
        out_w, out_h = max(1, round(width / downsample)), max(1, round(height / downsample))
        level = self._finest_enough(downsample)
        level_x, level_y = self._level_scale(level)
        scale = (downsample / level_x, downsample / level_y)
        if scale == (1.0, 1.0):
            return self.read_level(level, 0, 0, out_w, out_h), downsample
        # A slide without a pyramid does not fit into memory, so it is read in bands.
        level_w = self.level_sizes_px[level][0]
        rows = max(1, int(THUMBNAIL_BAND_BYTES / (3 * level_w * scale[1])))
        bands = [
            self._read_scaled(level, 0.0, top * scale[1], out_w, min(rows, out_h - top), scale)
            for top in range(0, out_h, rows)
        ]
        return np.concatenate(bands), downsample

    def downsample_at(self, mpp: float) -> float:
        """Level-0 pixels per pixel at `mpp`; 1 for a PNG or JPEG of unknown mpp, for which `mpp` is assumed.

        Raises:
            InputError: the slide's own mpp is unknown, or `mpp` is not a positive number.
        """
        if not (math.isfinite(mpp) and mpp > 0):
            raise InputError(f"{self.path}: the requested mpp must be a positive number, not {mpp}")
        if self.mpp is None and self.backend != "image":
            what = f"{self.path}: microns per pixel unknown, so it cannot be read at {mpp} um"
            raise InputError(f"{what}; give them in the manifest's mpp column")
        return 1.0 if self.mpp is None else mpp / self.mpp

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._handle is not None and self._handle_pid == os.getpid():
            self._handle.close()
        elif self._handle is not None:
            _INHERITED.append(self._handle)
        self._handle = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_handle": None}

    def __repr__(self) -> str:
        width, height = self.dimensions_px
        return f"Slide({self.path.name}, {width} x {height} px, mpp {self.mpp}, {self.backend})"

    def _opened(self) -> SlideBackend:
        """The handle of this process, opened if necessary."""
        if self._handle is not None and self._handle_pid != os.getpid():
            _INHERITED.append(self._handle)
            self._handle = None
        if self._handle is None:
            self._handle, self._handle_pid = BACKENDS[self.backend](self.path, self.max_image_px), os.getpid()
        return self._handle

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Convert any exception of a library while it decodes this file to a one-line error."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            what = f"{self.path}: damaged, {self.backend} cannot decode it ({_first_line(error)})"
            raise InputError(f"{what}; copy or export it again") from error

    def _level_scale(self, level: int) -> tuple[float, float]:
        """Level-0 pixels per pixel of a level, along x and along y."""
        (width, height), (level_w, level_h) = self.level_sizes_px[0], self.level_sizes_px[level]
        return width / level_w, height / level_h

    def _on_level(self, level: int, level0_xy: np.ndarray) -> np.ndarray:
        return level0_xy / np.array(self._level_scale(level))

    def _finest_enough(self, downsample: float) -> int:
        """The coarsest level that is no coarser than `downsample`."""
        return max(
            (i for i, d in enumerate(self.level_downsamples) if d <= downsample * (1 + LEVEL_SLACK)),
            key=lambda i: self.level_downsamples[i],
            default=0,
        )

    def _plan(self, mpp: float | None, size_px: int) -> tuple[int, tuple[float, float], bool]:
        """Level to read, its pixels per output pixel (x, y), and whether no resampling is needed."""
        if mpp is None:
            return 0, (1.0, 1.0), True
        downsample = self.downsample_at(mpp)
        level = self._finest_enough(downsample)
        level_x, level_y = self._level_scale(level)
        scale = (downsample / level_x, downsample / level_y)
        return level, scale, max(abs(s - 1) for s in scale) * size_px <= MAX_DRIFT_PX

    def _support(
        self, corners: np.ndarray, width: int, height: int, scale: tuple[float, float]
    ) -> tuple[np.ndarray, int, int]:
        """Call :func:`support`, and raise if the pixels exceed the memory limit."""
        first, read_w, read_h = support(corners, width, height, scale)
        if read_w * read_h > self.max_image_px:
            raise InputError(
                f"{self.path}: {read_w} x {read_h} px would be read for {width} x {height}; check its own mpp "
                f"({self.mpp}) and the requested one, or give it a pyramid"
            )
        return first, read_w, read_h

    def _read_scaled(
        self, level: int, x: float, y: float, width: int, height: int, scale: tuple[float, float]
    ) -> np.ndarray:
        """Read a region whose corner (x, y) and pixel size `scale`, in level pixels, are not whole numbers."""
        corner = np.array([[x, y]])
        first, read_w, read_h = self._support(corner, width, height, scale)
        pixels = self.read_level(level, int(first[0, 0]), int(first[0, 1]), read_w, read_h)
        return resample(pixels, corner[0] - first[0], width, height, scale)


def open_slide(
    path: str | os.PathLike[str],
    mpp: float | None = None,
    backend: str | None = None,
    max_image_px: int | None = None,
) -> Slide:
    """Open a slide or plain image.

    Args:
        path: path of the file.
        mpp: microns per pixel of level 0, 0.05 to 20; overrides the value in the file. None: use the file's value.
        backend: "cucim", "openslide", "tifffile" or "image"; None chooses by the tags.
        max_image_px: maximum number of pixels decoded at once, for a plain image or for a tile or strip; larger ones
            are refused as decompression bombs. None: the environment variable HMGDM_MAX_IMAGE_PX, or 179 million.

    Returns:
        The slide.

    Raises:
        InputError: the file does not exist, is truncated or damaged, is not an image, has a format that no backend
            reads, has pixels that are not square, or is a decompression bomb.
    """
    return Slide(path, mpp, backend, max_image_px)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
