"""Damaged JPEG streams are told, and none of those that encoders write."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from hmgdm_monai.data.slides.jpeg_check import JpegCheck

SIZE = 256


def encoded(pixels: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(target, "JPEG", **options)
    return target.getvalue()


@pytest.fixture(scope="module")
def pictures(stained):
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    half = noise.copy()
    half[: SIZE // 2] = 255
    flat = {f"flat {value}": np.full((SIZE, SIZE, 3), value, np.uint8) for value in (0, 200, 255)}
    return {"tissue": stained(SIZE, SIZE), "noise": noise, "half": half, **flat}


@pytest.mark.parametrize("quality", [10, 75, 100])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_what_encoders_write_is_sound(monkeypatch, pictures, quality, options, mode):
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**22)  # Pillow's buffer for optimized streams
    for name, pixels in pictures.items():
        stream = encoded(pixels, mode, quality=quality, **options)
        assert JpegCheck().fault(stream, (SIZE, SIZE), exact=True) is None, name
        assert JpegCheck().fault(stream + bytes(9)) is None, name  # padding


@pytest.fixture(scope="module")
def tissue(pictures):
    return encoded(pictures["tissue"], quality=90)


def _overwritten(stream: bytes, start: int, patch: bytes) -> bytes:
    return stream[:start] + patch + stream[start + len(patch) :]


DAMAGE = {
    "zeros": lambda s: bytes(len(s)),
    "ones": lambda s: b"\xff" * len(s),
    "random": lambda s: np.random.default_rng(1).bytes(len(s)),
    "header lost": lambda s: _overwritten(s, 0, bytes(64)),
    "tail lost": lambda s: s[: len(s) // 2] + bytes(len(s) - len(s) // 2),
    "end lost": lambda s: s[:-2] + b"\0\0",
    "cut": lambda s: s[: len(s) // 2],
    "sector of zeros": lambda s: _overwritten(s, 2000, bytes(512)),
    "sector of ones": lambda s: _overwritten(s, 2000, b"\xff" * 512),
    "other data": lambda s: _overwritten(s, 1000, np.random.default_rng(2).bytes(4096)),
    "empty": lambda s: b"",
    "start alone": lambda s: s[:2],
    "tables garbled": lambda s: s.replace(b"\xff\xc4\x00\x1f\x00", b"\xff\xc4\x00\x1f\x00\xff", 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told(tissue, damage):
    check = JpegCheck()
    assert len(tissue) > 6000 and check.fault(tissue) is None
    assert check.fault(DAMAGE[damage](tissue))
    assert JpegCheck().fault(DAMAGE[damage](tissue))


def test_most_sectors_of_anything_are_told(tissue):
    """Of 512 random bytes somewhere in the data, some hold a marker where none can be, nine times in ten or so."""
    draw = np.random.default_rng(3)
    starts = draw.integers(700, len(tissue) - 600, 200)
    told = [JpegCheck().fault(_overwritten(tissue, start, draw.bytes(512))) is not None for start in starts]
    assert np.mean(told) > 0.75


def test_another_size_is_told(tissue):
    check = JpegCheck()
    assert check.fault(tissue, (SIZE, 2 * SIZE)) is None
    assert check.fault(tissue, (SIZE, 2 * SIZE), exact=True) == "its JPEG has 256 x 256 px, not 256 x 512"
    assert check.fault(tissue, (SIZE - 1, SIZE)) == "its JPEG has 256 x 256 px, not 255 x 256"
    bomb = tissue.replace(b"\x01\x00\x01\x00\x03", b"\xff\xdc\xff\xdc\x03", 1)
    assert "65500 x 65500" in check.fault(bomb, (SIZE, SIZE))


def test_tables_that_stand_apart_are_read_and_checked(tissue):
    tables, data = b"\xff\xd8", b"\xff\xd8"
    at = 2
    while tissue[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(tissue[at + 2 : at + 4], "big")
        if tissue[at + 1] in (0xC4, 0xDB):
            tables += tissue[at:end]
        else:
            data += tissue[at:end]
        at = end
    tables, data = tables + b"\xff\xd9", data + tissue[at:]
    check = JpegCheck(tables)
    assert check.fault(data) is None
    assert check.fault(_overwritten(data, len(data) // 2, bytes(512))) == "a part of its JPEG is zeros"
    for damaged in (bytes(len(tables)), tables[:50], tables[:-40] + b"\xff\xd9"):
        with pytest.raises(ValueError, match="JPEG"):
            JpegCheck(damaged)
