"""The libraries that decode slides, behind one small interface: whole rectangles of one pyramid level, RGB, 8 bit."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hmgdm_monai.data.slide_tags import level_pages, plausible_mpp

CACHE_BYTES = 128 * 2**20  # decoded segments that the tifffile backend keeps, for files with large strips


def to_rgb8(
    pixels: np.ndarray,
    *,
    white_is_zero: bool = False,
    colormap: np.ndarray | None = None,
    alpha: str | None = None,
) -> np.ndarray:
    """Any decoded pixels to RGB, 8 bit, over white.

    Args:
        pixels: (h, w) or (h, w, C) bool, uint8 or uint16; C = 1 grey, 2 grey + extra, 3 RGB, 4 RGB + extra. 16 bits are
            taken to span the full range 0 to 65535.
        white_is_zero: grey whose 0 is white.
        colormap: (3, n) uint16 palette of single-channel pixels.
        alpha: what the extra channel means: "straight" or "premultiplied" alpha; None: it is dropped.

    Returns:
        (h, w, 3) uint8.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if colormap is not None:
        pixels = np.moveaxis(colormap[:, pixels[..., 0]], 0, -1)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    n_colours = 3 if pixels.shape[2] >= 3 else 1
    colours, extra = pixels[..., :n_colours], pixels[..., n_colours : n_colours + 1]
    if white_is_zero:
        colours = 255 - colours
    if alpha is not None and extra.shape[2]:
        weight = extra.astype(np.float32) / 255.0
        inked = colours.astype(np.float32) * (weight if alpha == "straight" else 1.0)
        colours = np.clip(np.rint(inked + 255.0 * (1.0 - weight)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


class SlideBackend:
    """One open file. Handles belong to the process that opened them; `Slide` sees to that.

    Attributes:
        name: how `open_slide(backend=...)` calls it.
        level_sizes_px: (width, height) of each level, finest first.
        mpp: microns per pixel of level 0 where the library knows it.
    """

    name: str
    level_sizes_px: list[tuple[int, int]]
    mpp: float | None = None

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """(height, width, 3) uint8 of a rectangle that lies wholly in the level; x, y in the level's own pixels."""
        raise NotImplementedError

    def read_many(
        self, level: int, xy_px: np.ndarray, width_px: int, height_px: int, num_workers: int
    ) -> Iterator[np.ndarray]:
        """Rectangles of one size at xy (N, 2), in order; with `num_workers` > 1 decoded by that many threads."""
        if num_workers <= 1:
            for x, y in xy_px.tolist():
                yield self.read(level, x, y, width_px, height_px)
            return
        # The pool lives for one call: threads do not survive a fork, and a pool kept from the parent hangs the child.
        with ThreadPoolExecutor(num_workers) as pool:
            for start in range(0, len(xy_px), 16 * num_workers):  # decoded tiles in waiting stay few
                part = xy_px[start : start + 16 * num_workers].tolist()
                yield from pool.map(lambda xy: self.read(level, xy[0], xy[1], width_px, height_px), part)

    def close(self) -> None:
        """Give the file back."""


class CucimBackend(SlideBackend):
    """Tiled TIFF and Aperio SVS by cuCIM."""

    name = "cucim"

    def __init__(self, path: Path) -> None:
        from cucim import CuImage

        self._image = CuImage(str(path))
        resolutions = self._image.resolutions
        self.level_sizes_px = [(int(w), int(h)) for w, h in resolutions["level_dimensions"]]
        self._downsamples = [float(d) for d in resolutions["level_downsamples"]]

    def _location(self, level: int, xy: int) -> int:
        """A level-0 coordinate that cuCIM, flooring coordinate / downsample, turns into pixel `xy` of the level."""
        downsample = self._downsamples[level]
        return math.floor((xy + 0.5) * downsample) if downsample >= 2 else math.ceil(xy * downsample)

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        where = (self._location(level, x_px), self._location(level, y_px))
        return np.asarray(self._image.read_region(where, (width_px, height_px), level))

    def read_many(
        self, level: int, xy_px: np.ndarray, width_px: int, height_px: int, num_workers: int
    ) -> Iterator[np.ndarray]:
        """See :meth:`SlideBackend.read_many`; cuCIM decodes ahead with its own threads."""
        if num_workers <= 1 or len(xy_px) < 2:  # with one worker cuCIM's own batches are no quicker than single reads
            yield from super().read_many(level, xy_px, width_px, height_px, 1)
            return
        where = [(self._location(level, x), self._location(level, y)) for x, y in xy_px.tolist()]
        batch = self._image.read_region(where, (width_px, height_px), level, num_workers=num_workers, batch_size=1)
        for region in batch:
            yield np.asarray(region)

    def close(self) -> None:
        """Give the file back."""
        self._image.close()


class OpenSlideBackend(SlideBackend):
    """Vendors' formats by OpenSlide."""

    name = "openslide"

    def __init__(self, path: Path) -> None:
        import openslide

        self._slide = openslide.OpenSlide(str(path))
        self.level_sizes_px = [(int(w), int(h)) for w, h in self._slide.level_dimensions]
        sizes = [
            self._slide.properties.get(key) for key in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        ]
        self.mpp = plausible_mpp(sizes[0]) or plausible_mpp(sizes[1])

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        downsample = self._slide.level_downsamples[level]
        where = (round(x_px * downsample), round(y_px * downsample))
        region = np.asarray(self._slide.read_region(where, level, (width_px, height_px)))
        if region[..., 3].min() == 255:
            return np.ascontiguousarray(region[..., :3])
        return to_rgb8(region, alpha="straight")

    def close(self) -> None:
        """Give the file back."""
        self._slide.close()


class TifffileBackend(SlideBackend):
    """Any TIFF that tifffile decodes: tiles or strips, grey to RGBA, 8 or 16 bit, interleaved or planar."""

    name = "tifffile"

    def __init__(self, path: Path) -> None:
        import tifffile

        self._tif = tifffile.TiffFile(path)
        self._pages = level_pages(self._tif)
        self.level_sizes_px = [(page.imagewidth, page.imagelength) for page in self._pages]
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._cached_bytes = 0

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        page = self._pages[level]
        seg_w = page.tilewidth if page.is_tiled else page.imagewidth
        seg_h = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        across, down = math.ceil(page.imagewidth / seg_w), math.ceil(page.imagelength / seg_h)
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        out = np.full((height_px, width_px, page.samplesperpixel), _blank(page), dtype=page.dtype)
        for row in range(y_px // seg_h, (y_px + height_px - 1) // seg_h + 1):
            for column in range(x_px // seg_w, (x_px + width_px - 1) // seg_w + 1):
                top, left = row * seg_h - y_px, column * seg_w - x_px  # the segment's corner in the output
                for plane in range(planes):
                    segment = self._segment(level, (plane * down + row) * across + column)
                    if segment is None:  # a tile that was never written
                        continue
                    part = segment[max(0, -top) : height_px - top, max(0, -left) : width_px - left]
                    y, x = max(0, top), max(0, left)
                    into = out[y : y + part.shape[0], x : x + part.shape[1]]
                    into[..., slice(plane, plane + 1) if planes > 1 else slice(None)] = part
        extras = page.extrasamples or ()
        alpha = {1: "premultiplied", 2: "straight"}.get(int(extras[0])) if extras else None
        colormap = page.colormap if page.photometric == 3 else None
        return to_rgb8(out, white_is_zero=page.photometric == 0, colormap=colormap, alpha=alpha)

    def _segment(self, level: int, index: int) -> np.ndarray | None:
        """(h, w, samples) of one tile or strip, from the cache or the file."""
        key = (level, index)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            page = self._pages[level]
            count = page.databytecounts[index]
            self._tif.filehandle.seek(page.dataoffsets[index])
            data = self._tif.filehandle.read(count) if count else None
        if data is None:
            return None
        decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        segment = decoded[0, : shape[1], : shape[2]]
        with self._lock:
            if key not in self._cache:  # another thread may have decoded it meanwhile
                self._cache[key] = segment
                self._cached_bytes += segment.nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def close(self) -> None:
        """Give the file back."""
        self._tif.close()


class ImageBackend(SlideBackend):
    """PNG, JPEG and whatever else Pillow reads: one level, the whole image in memory."""

    name = "image"

    def __init__(self, path: Path) -> None:
        from PIL import Image

        with Image.open(path) as image:
            self._pixels = _image_rgb8(image)
        self.level_sizes_px = [(self._pixels.shape[1], self._pixels.shape[0])]

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        return self._pixels[y_px : y_px + height_px, x_px : x_px + width_px]


def _image_rgb8(image) -> np.ndarray:  # noqa: ANN001 - a PIL image, imported lazily
    """A PIL image as (h, w, 3) uint8 over white."""
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit grey; Pillow gives "I" for some PNGs
        return to_rgb8(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return to_rgb8(np.asarray(image.convert("RGBA")), alpha="straight")
    return np.array(image.convert("RGB"))


def _blank(page) -> int:  # noqa: ANN001 - a TiffPage, imported lazily
    """The sample value that shows white where a tile was never written."""
    if page.photometric in (0, 3):
        return 0
    return 1 if page.dtype == bool else int(np.iinfo(page.dtype).max)


BACKENDS: dict[str, type[SlideBackend]] = {
    backend.name: backend for backend in (CucimBackend, OpenSlideBackend, TifffileBackend, ImageBackend)
}
