"""Slides decoded by tifffile, segment by segment: supports nearly all codecs, and raises for damaged segments."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import tifffile

from hmgdm_monai.data.slides.backend import SlideBackend
from hmgdm_monai.data.slides.pages import slide_pages
from hmgdm_monai.data.slides.rgb import to_rgb8
from hmgdm_monai.data.slides.tiff_segments import TiffSegments

CACHE_BYTES = 128 * 2**20  # cache of decoded segments: large strips, and tiles that several regions touch


class TifffileBackend(SlideBackend):
    """Any TIFF with gray, RGB or palette pixels."""

    name = "tifffile"

    def __init__(self, path: Path, max_image_px: int) -> None:
        self._tif = tifffile.TiffFile(path)
        slide = slide_pages(self._tif, path)
        self.level_sizes_px = list(slide.sizes_px)
        self._levels = [
            [TiffSegments(path, self._tif.filehandle.fileno(), page, f"level {level}") for page in pages]
            for level, pages in enumerate(slide.levels)
        ]
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._cached_bytes = 0

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        where = (x_px, y_px, width_px, height_px)
        channels = [self._read_page(level, number, *where) for number in range(len(self._levels[level]))]
        page = self._levels[level][0].page
        extras = page.extrasamples or ()
        return to_rgb8(
            channels[0] if len(channels) == 1 else np.concatenate(channels, axis=2),
            white_is_zero=page.photometric == 0,
            colormap=page.colormap if page.photometric == 3 else None,
            alpha={1: "premultiplied", 2: "straight"}.get(int(extras[0])) if extras else None,
        )

    def _read_page(self, level: int, number: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """Read a rectangle of one page of a level: (height, width, samples)."""
        segments = self._levels[level][number]
        page = segments.page
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        rows, columns = segments.under(x_px, y_px, width_px, height_px)
        if planes == len(rows) == len(columns) == 1:
            segment = self._segment(level, number, rows.start, columns.start)
            top, left = y_px - rows.start * segments.height_px, x_px - columns.start * segments.width_px
            if segment is not None and segment.shape[0] >= top + height_px and segment.shape[1] >= left + width_px:
                return segment[top : top + height_px, left : left + width_px]
        out = np.full((height_px, width_px, page.samplesperpixel), _blank(page), dtype=page.dtype)
        for row in rows:
            for column in columns:
                top, left = row * segments.height_px - y_px, column * segments.width_px - x_px  # in the output
                for plane in range(planes):
                    segment = self._segment(level, number, row, column, plane)
                    if segment is None:  # a tile that was never written
                        continue
                    part = segment[max(0, -top) : height_px - top, max(0, -left) : width_px - left]
                    y, x = max(0, top), max(0, left)
                    into = out[y : y + part.shape[0], x : x + part.shape[1]]
                    into[..., slice(plane, plane + 1) if planes > 1 else slice(None)] = part
        return out

    def _segment(self, level: int, number: int, row: int, column: int, plane: int = 0) -> np.ndarray | None:
        """One tile or strip (h, w, samples), from the cache or the file."""
        segments = self._levels[level][number]
        page = segments.page
        key = (level, number, segments.number(row, column, plane))
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        data = segments.read(row, column, plane)
        if data is None:
            return None
        try:
            decoded, _, shape = page.decode(data, key[2], jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        except (RuntimeError, ValueError, OSError, EOFError) as error:  # raised by codecs
            reason = " ".join(str(error).split())[:200] or "it cannot be decoded"
            raise segments.damaged(row, column, reason) from error
        assert decoded is not None  # only without bytes is it None
        segment = decoded[0, : shape[1], : shape[2]]
        with self._lock:
            if key not in self._cache:  # another thread may have decoded it in the meantime
                self._cache[key] = segment
                self._cached_bytes += segment.nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def close(self) -> None:
        """Close the file."""
        self._tif.close()


def _blank(page: tifffile.TiffPage) -> int:
    """The sample value that means white, for tiles that were never written."""
    if page.photometric in (0, 3):
        return 0
    return 1 if page.dtype == bool else int(np.iinfo(page.dtype).max)
