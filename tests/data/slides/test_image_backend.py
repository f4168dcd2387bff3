"""Plain images: bounded in size, checked where their decoder is lenient."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hmgdm_monai.data.slides.image_backend import MAX_IMAGE_PX, image_limit_px
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture
def bomb(tmp_path):
    """Function (side) -> a PNG of some kilobytes that declares side x side pixels, all of which are in it."""

    def make(side: int):
        packer = zlib.compressobj(9)
        row = bytes(1 + side // 8)
        rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(content)
        return tmp_path / "bomb.png"

    return make


def test_a_bomb_is_refused_before_it_is_decoded_and_the_limit_can_be_raised(bomb, monkeypatch):
    path = bomb(16_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(
        InputError, match=r"bomb\.png: its image of 16000 x 16000 px .* set HMGDM_MAX_IMAGE_PX"
    ) as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    small = bomb(1000)
    with pytest.raises(InputError, match="more than 999999 px"):
        open_slide(small, max_image_px=999_999)
    assert open_slide(small, max_image_px=1_000_000).dimensions_px == (1000, 1000)
    monkeypatch.setenv("HMGDM_MAX_IMAGE_PX", "1000")
    with pytest.raises(InputError, match="more than 1000 px"):
        open_slide(small)


def test_the_limit_may_exceed_pillows_own_which_stays_as_it_was(bomb, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = bomb(200)
    assert open_slide(path).dimensions_px == (200, 200)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("text", ["0", "-5", "many", "1e9"])
def test_a_limit_that_is_none_is_told(monkeypatch, text):
    monkeypatch.setenv("HMGDM_MAX_IMAGE_PX", text)
    with pytest.raises(InputError, match="HMGDM_MAX_IMAGE_PX: must be a whole number"):
        image_limit_px()
    monkeypatch.setenv("HMGDM_MAX_IMAGE_PX", "")
    assert image_limit_px() == MAX_IMAGE_PX
    assert image_limit_px(5) == 5


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("damage", ["zeros in the middle", "cut"])
def test_a_damaged_image_is_one_line(tmp_path, suffix, damage):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + bytes(512) + content[middle + 512 :])
    with pytest.raises(InputError, match=rf"a\.{suffix}: ") as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)


def test_a_program_in_the_guise_of_an_image_is_not_run(tmp_path):
    """Pillow hands PostScript to an interpreter; here it is no image."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="not readable as a slide or image"):
        open_slide(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.webp", "a.bmp", "a.gif", "a.ppm", "a.jp2"])
def test_the_other_plain_formats_are_read(name, tmp_path, stained):
    pixels = stained(64, 48)
    Image.fromarray(pixels).save(tmp_path / name)
    found = open_slide(tmp_path / name).read_region(0, 0, 64, 48).astype(int)
    assert found.shape == pixels.shape
    assert np.abs(found - pixels).mean() < 8


def test_a_jpeg_of_several_pictures_shows_the_first(tmp_path, stained):
    first, second = (Image.fromarray(stained(64, 48)[::step]) for step in (1, -1))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    found = open_slide(tmp_path / "a.jpg").read_region(0, 0, 64, 48).astype(int)
    assert np.abs(found - stained(64, 48)).mean() < 8
