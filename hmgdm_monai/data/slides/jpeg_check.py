"""Check by its markers that a JPEG is complete: much faster than decoding, and decoders return pixels for any data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# In the data of a scan, 0xFF is followed by zero or by a restart marker; any other marker ends the scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_RESTARTS = range(0xD0, 0xD8)
_START, _END, _SCAN, _TABLES = 0xD8, 0xD9, 0xDA, 0xC4
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_TABLES, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)
_BETWEEN_SCANS = frozenset({_TABLES, _SCAN, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_DC, _AC = 0, 1
# Coded pixels do not contain so many zero bytes, unless the all-zero code means a flat block; damaged disks leave them.
_ZEROS = bytes(48)


@dataclass(frozen=True)
class _Header:
    """Everything before the data of the first scan; usually identical in all tiles of a page.

    Attributes:
        data: the bytes of the header.
        size_px: (width, height).
        flat_is_zeros: whether a flat image may be coded as zero bits only.
    """

    data: bytes
    size_px: tuple[int, int]
    flat_is_zeros: bool


class JpegCheck:
    """Check JPEG streams that usually share one header, such as the tiles of a page.

    Detected are an invalid header, a wrong size, a missing end, markers at invalid positions, and long runs of zeros. A
    few wrong bits are not detected; decoders that check markers strictly usually miss them too.

    Args:
        tables: the table stream that abbreviated streams refer to (JPEGTables of a TIFF); None if there is none.

    Raises:
        ValueError: the tables are damaged.
    """

    def __init__(self, tables: bytes | None = None) -> None:
        self._known: _Header | None = None
        self._tables: dict[tuple[int, int], int] = {}
        if tables:
            for marker, segment, _ in _segments(tables):
                if marker == _TABLES:
                    self._tables |= _codes_of_zeros(segment)

    def fault(self, data: bytes, most_px: tuple[int, int] | None = None, exact: bool = False) -> str | None:
        """Describe in a few words why a stream is damaged; None if no fault is found.

        Args:
            data: the stream; bytes after its end are ignored.
            most_px: maximum (width, height); None for no limit.
            exact: whether the size must be equal to `most_px`.
        """
        try:
            header = self._header(data)
        except ValueError as error:
            return str(error)
        width, height = header.size_px
        if most_px is not None and (width > most_px[0] or height > most_px[1] or (exact and header.size_px != most_px)):
            return f"its JPEG has {width} x {height} px, not {most_px[0]} x {most_px[1]}"
        at = len(header.data)
        if not header.flat_is_zeros and data.find(_ZEROS, at) >= 0:
            return "a part of its JPEG is zeros"
        while found := _MARKER.search(data, at):
            at = found.start() + 1
            while at < len(data) and data[at] == 0xFF:  # fill bytes
                at += 1
            marker = data[at] if at < len(data) else None
            if marker == _END:
                return None
            if marker in _BETWEEN_SCANS:
                at += 1 + int.from_bytes(data[at + 1 : at + 3], "big")
            elif marker not in _RESTARTS:
                return "its JPEG is garbled"
        return "its JPEG is cut short"

    def _header(self, data: bytes) -> _Header:
        if self._known is None or not data.startswith(self._known.data):
            self._known = _read_header(data, self._tables)
        return self._known


def _read_header(data: bytes, tables: dict[tuple[int, int], int]) -> _Header:
    size_px, sequential, codes = None, False, dict(tables)
    for marker, segment, end in _segments(data):
        if marker in _FRAMES and len(segment) >= 6:
            size_px = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
            sequential = marker in _SEQUENTIAL
        elif marker == _TABLES:
            codes |= _codes_of_zeros(segment)
        elif marker == _SCAN and size_px is not None and len(segment) >= 6:
            dc, ac = segment[2] >> 4, segment[2] & 15  # tables of the scan's first component
            flat = codes.get((_DC, dc), 0) == 0 and codes.get((_AC, ac), 0) == 0
            return _Header(data[:end], size_px, flat or not sequential)
    raise ValueError("its JPEG header is damaged")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, content and end of each segment up to the end of the image or the first scan.

    Raises:
        ValueError: there is no marker at a position that needs one.
    """
    if data[:2] != bytes((0xFF, _START)):
        raise ValueError("it is not a JPEG")
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker < 0xC0 or length < 2 or at + 2 + length > len(data):
            break
        yield marker, data[at + 4 : at + 2 + length], at + 2 + length
        if marker == _SCAN:
            return
        at += 2 + length
    if data[at : at + 2] != bytes((0xFF, _END)):
        raise ValueError("its JPEG header is damaged")


def _codes_of_zeros(segment: bytes) -> dict[tuple[int, int], int]:
    """Map (DC or AC, number) of each Huffman table in a segment to the value of its all-zero code, the shortest one.

    Raises:
        ValueError: the lengths of the segment are invalid.
    """
    found, at = {}, 0
    while at < len(segment):
        count = sum(segment[at + 1 : at + 17])
        if not 0 < count <= 256 or at + 17 + count > len(segment):
            raise ValueError("its JPEG header is damaged")
        found[segment[at] >> 4, segment[at] & 15] = segment[at + 17]
        at += 17 + count
    return found
