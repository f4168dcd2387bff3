"""The encoded tiles and strips of a TIFF page, each checked before it is decoded."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from hmgdm_monai.data.slides.jpeg2000_check import jpeg2000_fault
from hmgdm_monai.data.slides.jpeg_check import JpegCheck
from hmgdm_monai.errors import InputError

RAW, JPEG = 1, 7
# Codecs that store their own image size, so that they may decode to far more than a tile.
_JPEG_2000 = frozenset({33003, 33004, 33005, 34712})
_OWN_SIZE = frozenset({34927, 34933, 50001})  # WebP, PNG
_ZEROS = bytes(64)  # valid WebP has at most a dozen zeros in a row, and its decoder ignores longer runs
_OVERHEAD_BYTES = 65_536  # a compressed segment may exceed twice the size of its pixels by this much


class TiffSegments:
    """The tiles or strips of one page.

    Args:
        path: path of the file, for messages.
        descriptor: file descriptor, open for reading; the caller closes it.
        page: page of the file.
        where: name of the page in messages, for example "level 0".
        exact: whether tiles must have exactly the page's tile size; otherwise those at the border may be smaller.

    Attributes:
        page: the page.
        width_px: width of a segment.
        height_px: height of a segment; the last strip may be lower.
        across: number of segments per row.
        down: number of segments per column.

    Raises:
        InputError: the page's JPEG tables are damaged, or its samples have an unknown type.
    """

    def __init__(
        self, path: Path, descriptor: int, page: tifffile.TiffPage, where: str = "level 0", exact: bool = False
    ) -> None:
        self.page = page
        self._path, self._descriptor, self._where, self._exact = path, descriptor, where, exact
        self.width_px, self.height_px = segment_size_px(page)
        self.across = math.ceil(page.imagewidth / self.width_px)
        self.down = math.ceil(page.imagelength / self.height_px)
        if page.dtype is None:
            raise InputError(f"{path}: {where} has samples of an unknown type; export it as 8-bit RGB")
        self._bytes = self.width_px * self.height_px * page.samplesperpixel * page.dtype.itemsize
        self._sound = bytearray(self.across * self.down)  # 1 for a segment that has been checked
        try:
            self._jpeg = JpegCheck(page.jpegtables) if page.compression == JPEG else None
        except ValueError as error:
            raise InputError(f"{path}: damaged, JPEG tables of {where}; copy or export it again") from error
        if exact and page.compression == RAW:
            for number in np.flatnonzero(np.array(page.databytecounts) < self._bytes).tolist()[:1]:
                row, column = divmod(number, self.across)
                raise self.damaged(row, column, f"{page.databytecounts[number]} of {self._bytes} bytes")
            self._sound = bytearray(b"\1") * len(self._sound)

    def number(self, row: int, column: int, plane: int = 0) -> int:
        """Index of a segment in the page; `plane` is its channel if channels are stored separately."""
        return (plane * self.down + row) * self.across + column

    def read(self, row: int, column: int, plane: int = 0) -> bytes | None:
        """Read the stored bytes of one segment; None if it was never written.

        Args:
            row: row of the segment.
            column: column of the segment.
            plane: its channel if channels are stored separately.

        Raises:
            InputError: the segment is damaged.
        """
        number = self.number(row, column, plane)
        offset, count = self.page.dataoffsets[number], self.page.databytecounts[number]
        if not offset or not count:
            return None
        if count > 2 * self._bytes + _OVERHEAD_BYTES:
            raise self.damaged(row, column, f"its {count} bytes are more than its pixels need")
        data = os.pread(self._descriptor, count, offset)  # thread-safe: does not move the file position
        fault = "the file ends within it" if len(data) < count else self._fault(data)
        if fault is not None:
            raise self.damaged(row, column, fault)
        return data

    def check(self, x_px: int, y_px: int, width_px: int, height_px: int) -> None:
        """Check all segments under a rectangle of the page; each segment is checked only once.

        Args:
            x_px: left edge in pixels of the page.
            y_px: upper edge in pixels of the page.
            width_px: width in pixels of the page.
            height_px: height in pixels of the page.

        Raises:
            InputError: a segment is damaged.
        """
        rows, columns = self.under(x_px, y_px, width_px, height_px)
        for row in rows:
            for column in columns:
                if not self._sound[row * self.across + column]:
                    self.read(row, column)
                    self._sound[row * self.across + column] = 1

    def under(self, x_px: int, y_px: int, width_px: int, height_px: int) -> tuple[range, range]:
        """Rows and columns of the segments that a rectangle touches."""
        return (
            range(y_px // self.height_px, (y_px + height_px - 1) // self.height_px + 1),
            range(x_px // self.width_px, (x_px + width_px - 1) // self.width_px + 1),
        )

    def damaged(self, row: int, column: int, reason: str) -> InputError:
        """Build the error for one damaged segment."""
        kind = "tile" if self.page.is_tiled else "strip"
        place = f"{kind} at x {column * self.width_px}, y {row * self.height_px} px of {self._where}"
        return InputError(f"{self._path}: damaged, {place}: {reason}; copy or export the slide again")

    def _fault(self, data: bytes) -> str | None:
        """Describe the fault in the bytes of a segment; None if no fault is found."""
        most = (self.width_px, self.height_px)
        if self._jpeg is not None:
            return self._jpeg.fault(data, most, self._exact)
        if self.page.compression in _JPEG_2000:
            return jpeg2000_fault(data, most)
        if self.page.compression not in _OWN_SIZE:
            return None
        try:
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
        except Exception as error:  # Pillow raises many kinds, some of them for decompression bombs
            return f"its header is damaged or too large ({type(error).__name__})"
        if width > most[0] or height > most[1]:
            return f"it holds {width} x {height} px, not {most[0]} x {most[1]}"
        if data[8:12] == b"WEBP" and data.find(_ZEROS, 0, 8 + int.from_bytes(data[4:8], "little")) >= 0:
            return "a part of its WebP is zeros"
        return None


def segment_size_px(page: tifffile.TiffPage) -> tuple[int, int]:
    """(width, height) of a page's tiles, or of its strips."""
    if page.is_tiled:
        return page.tilewidth, page.tilelength
    return page.imagewidth, min(page.rowsperstrip, page.imagelength)
