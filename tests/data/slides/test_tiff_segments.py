"""Damaged tiles never pass as tissue, whoever decodes them; tiles that were never written are white."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest
import tifffile

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError

TILE = 64
BAD = 5  # number of the tile that is damaged: column 1, row 1 of 4 x 3
APERIO = "Aperio Image Library v12.0.15\r\n256x192 [0,0,256x192] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
CODECS = ["jpeg", "lzw", "zlib", "zstd", "packbits", "webp", "jpeg2000", "png", 33005]


@pytest.fixture(scope="module")
def pixels(stained):
    return np.random.default_rng(0).integers(-9, 9, (192, 256, 3)).astype(np.int8).view(np.uint8) + stained(256, 192)


@pytest.fixture
def write(tmp_path, pixels):
    def write(codec, aperio=False, name=None, **options):
        path = tmp_path / (name or ("a.svs" if aperio else "a.tif"))
        options = {"photometric": "rgb", "tile": (TILE, TILE), "metadata": None, **options}
        resolution = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(
            path, pixels, compression=codec, description=APERIO if aperio else None, **resolution, **options
        )
        return path

    return write


def overwrite(path, how, number=BAD):
    """Change the bytes of one tile by a function."""
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[number], tif.pages[0].databytecounts[number]
    content = bytearray(path.read_bytes())
    content[start : start + count] = how(bytes(content[start : start + count]))
    path.write_bytes(content)


def forget(path, numbers):
    """Make tiles such that were never written: offset and byte count 0."""
    with tifffile.TiffFile(path) as tif:
        tags = [tif.pages[0].tags[code] for code in (324, 325)]
        order = tif.byteorder
    content = bytearray(path.read_bytes())
    for tag in tags:
        kind = order + {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
        for number in numbers:
            struct.pack_into(kind, content, tag.valueoffset + number * struct.calcsize(kind), 0)
    path.write_bytes(content)


LOST = {
    "zeros": lambda tile: bytes(len(tile)),
    "ones": lambda tile: b"\xff" * len(tile),
    "second half": lambda tile: tile[: len(tile) // 2] + bytes(len(tile) - len(tile) // 2),
    "other data": lambda tile: np.random.default_rng(1).bytes(len(tile)),
}


@pytest.mark.parametrize("aperio", [False, True])
@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_tile_is_one_line_that_names_it(write, codec, lost, aperio):
    path = write(codec, aperio)
    whole = open_slide(path)
    whole.read_regions([[0, 0], [64, 64]], TILE)
    overwrite(path, LOST[lost])
    slide = open_slide(path)
    assert slide.backend == whole.backend
    slide.read_regions([[0, 0], [128, 64]], TILE)  # its neighbors are well
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"a\.(svs|tif): damaged, ") as caught:
            slide.read_regions([[0, 0], [64, 64], [128, 64]], TILE, num_workers=workers)
        assert "\n" not in str(caught.value)
        assert "tile at x 64, y 64 px of level 0" in str(caught.value)
    with pytest.raises(InputError, match="damaged"):
        slide.read_region(60, 60, 10, 10)


@pytest.mark.parametrize("codec", ["jpeg", "lzw"])
def test_damage_at_a_coarser_level_is_told_with_its_level(tmp_path, write_tiff, pixels, codec):
    path = write_tiff(tmp_path / "a.tif", [pixels, pixels[::2, ::2]], tile_px=TILE, compression=codec)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[1].dataoffsets[0], tif.pages[1].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(count)
    path.write_bytes(content)
    slide = open_slide(path)
    slide.read_region(0, 0, 64, 64)
    with pytest.raises(InputError, match="damaged, tile at x 0, y 0 px of level 1"):
        slide.read_region(0, 0, 64, 64, 1.0)


@pytest.mark.parametrize("aperio", [False, True])
@pytest.mark.parametrize("codec", [None, *CODECS])
def test_tiles_never_written_are_white_on_every_backend(write, codec, aperio):
    path = write(codec, aperio)
    expected = open_slide(path).read_region(0, 0, 256, 192)
    forget(path, (0, BAD))
    expected[:64, :64] = expected[64:128, 64:128] = 255
    assert open_slide(path).backend != "cucim"
    for backend in (None, "cucim", "tifffile", "openslide"):
        try:
            slide = open_slide(path, backend=backend)
        except InputError as error:  # refused, or in a codec that this one lacks
            assert backend is not None, error
            continue
        tolerance = 12 if codec == "jpeg" else 1
        try:
            found = slide.read_region(0, 0, 256, 192).astype(int)
        except InputError:
            assert backend == "openslide", "OpenSlide lacks some codecs and tells that late"
            continue
        assert np.abs(found - expected).max() <= tolerance, backend


def test_a_byte_count_that_lies_is_told(write):
    path = write("jpeg")
    with tifffile.TiffFile(path) as tif:
        tag, order = tif.pages[0].tags[325], tif.byteorder
    kind = order + {3: "H", 4: "I"}[int(tag.dtype)]
    content = bytearray(path.read_bytes())
    for number, count in ((1, 900), (2, 60_000)):
        struct.pack_into(kind, content, tag.valueoffset + number * struct.calcsize(kind), count)
    path.write_bytes(content + bytes(100_000))
    slide = open_slide(path)
    with pytest.raises(InputError, match="tile at x 64, y 0 px of level 0: its JPEG is cut short"):
        slide.read_region(64, 0, 64, 64)


def test_raw_tiles_shorter_than_their_pixels_are_told(write):
    path = write(None)
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[0].tags[325]
    content = bytearray(path.read_bytes())
    struct.pack_into("<H" if int(tag.dtype) == 3 else "<I", content, tag.valueoffset, 5000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged, tile at x 0, y 0 px of level 0"):
        open_slide(path).read_region(0, 0, 64, 64)


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000", "png", "webp"])
def test_a_tile_that_holds_a_larger_picture_is_not_decoded(write, codec, tmp_path):
    """A decoder goes by the picture's own size, which may be gigabytes."""
    large = np.zeros((256, 256, 3), np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", large, photometric="rgb", tile=(256, 256), compression=codec, metadata=None)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        start, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    stream = (tmp_path / "b.tif").read_bytes()[start : start + count]
    path = write(codec)
    overwrite(path, lambda tile: (stream + bytes(len(tile)))[: len(tile)])
    with pytest.raises(InputError, match=r"damaged, tile at x 64, y 64 px of level 0: .*256 x 256"):
        open_slide(path).read_region(64, 64, 10, 10)


def test_tiles_at_the_border_that_are_smaller_are_read_by_another_backend(tmp_path, pixels):
    """Some writers cut the JPEG of the last tiles to what lies within the image."""
    import imagecodecs

    def tiles():
        for y in (0, 64):
            for x in (0, 64, 128):
                yield imagecodecs.jpeg8_encode(pixels[y : min(y + 64, 100), x : min(x + 64, 150)], level=95)

    path = tmp_path / "a.tif"
    options = {"photometric": "ycbcr", "tile": (64, 64), "compression": "jpeg", "subsampling": (2, 2)}
    tifffile.imwrite(path, tiles(), shape=(100, 150, 3), dtype=np.uint8, metadata=None, **options)
    slide = open_slide(path, mpp=0.5)
    assert slide.backend == "tifffile"
    assert np.abs(slide.read_region(0, 0, 150, 100).astype(int) - pixels[:100, :150]).mean() < 8


def test_looking_at_tiles_takes_a_small_part_of_reading_them(tmp_path, write_tiff, stained):
    path = write_tiff(tmp_path / "a.tif", [stained(1024, 1024)], tile_px=256, compression="jpeg")
    places = [(x, y) for y in range(0, 1024, 256) for x in range(0, 1024, 256)]
    slide = open_slide(path)
    assert slide.backend == "cucim"
    looking, reading = [], []
    for _ in range(9):
        slide.close()
        segments = slide._opened()._segments[0]
        start = time.process_time()
        for place in places:
            segments.check(*place, 256, 256)
        looking.append(time.process_time() - start)
        start = time.process_time()
        slide.read_regions(places, 256)
        reading.append(time.process_time() - start)
    assert np.median(looking) < 0.1 * np.median(reading)
