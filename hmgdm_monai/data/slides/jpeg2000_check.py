"""Check by markers and lengths that a JPEG 2000 stream is complete: OpenJPEG decodes truncated streams silently."""

from __future__ import annotations

import re

_START = b"\xff\x4f\xff\x51"  # SOC, SIZ
_TILE_PART, _DATA, _END = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
# Coded data never contain 0xFF followed by a byte above 0x8F; two markers may occur between packets (SOP, EPH).
_GARBLED = re.compile(rb"\xff[\x90\x93-\xff]")
_CUT = "its JPEG 2000 is cut short"


def jpeg2000_fault(data: bytes, most_px: tuple[int, int]) -> str | None:
    """Describe why a stream, plain or in a JP2 file, is damaged; None if no fault is found.

    Args:
        data: the stream; bytes after its end are ignored.
        most_px: maximum (width, height).
    """
    start = data.find(_START)
    if start < 0 or len(data) < start + 24:
        return "it is not a JPEG 2000"
    right, lower, left, upper = (int.from_bytes(data[at : at + 4], "big") for at in range(start + 8, start + 24, 4))
    if right - left > most_px[0] or lower - upper > most_px[1]:
        return f"its JPEG 2000 has {right - left} x {lower - upper} px, not {most_px[0]} x {most_px[1]}"
    at = start + 2
    while data[at : at + 2] != _TILE_PART:  # segments of the main header
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 1] != b"\xff" or length < 2:
            return "its JPEG 2000 header is damaged"
        at += 2 + length
    while data[at : at + 2] == _TILE_PART:
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        end = at + length if length else data.rfind(_END)
        body = data.find(_DATA, at, end)
        if body < 0 or end > len(data):
            return _CUT
        if _GARBLED.search(data, body + 2, end):
            return "its JPEG 2000 is garbled"
        at = end
    return None if data[at : at + 2] == _END else _CUT
