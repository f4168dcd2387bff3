from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError


@pytest.fixture(scope="module")
def pixels(stained):
    return stained(400, 300)


CASES = {
    # name: (writer's options, backend that the tags choose, greatest difference per pixel)
    "raw": ({}, "cucim", 0),
    "deflate": ({"compression": "zlib"}, "tifffile", 0),
    "lzw": ({"compression": "lzw"}, "tifffile", 0),
    "lzw predictor": ({"compression": "lzw", "predictor": True}, "tifffile", 0),
    "jpeg": ({"compression": "jpeg", "compressionargs": {"level": 95}}, "cucim", 24),
    "deflate predictor": ({"compression": "zlib", "predictor": True}, "tifffile", 0),
    "zstd": ({"compression": "zstd"}, "tifffile", 0),
    "packbits": ({"compression": "packbits"}, "tifffile", 0),
    "webp": ({"compression": "webp", "compressionargs": {"lossless": True}}, "tifffile", 0),
    "jpeg 2000": ({"compression": "jpeg2000", "compressionargs": {"reversible": True}}, "tifffile", 0),
    "strips": ({"tile_px": None, "rowsperstrip": 17}, "tifffile", 0),
    "strips deflate": ({"tile_px": None, "rowsperstrip": 300, "compression": "zlib"}, "tifffile", 0),
    "big endian": ({"byteorder": ">"}, "cucim", 0),
}


def _write(write_tiff, path, pixels, options):
    options = dict(options)
    if byteorder := options.pop("byteorder", None):
        with tifffile.TiffWriter(path, byteorder=byteorder) as writer:
            writer.write(pixels, photometric="rgb", tile=(128, 128), metadata=None)
        return path
    return write_tiff(path, [pixels], **options)


@pytest.mark.parametrize("case", CASES)
def test_every_backend_reads_the_same_pixels(tmp_path, write_tiff, pixels, case):
    options, chosen, tolerance = CASES[case]
    path = _write(write_tiff, tmp_path / "a.tif", pixels, options)
    assert open_slide(path).backend == chosen
    readers = [open_slide(path), open_slide(path, backend="tifffile")]
    if case in ("raw", "deflate", "lzw", "jpeg", "deflate predictor"):
        readers.append(open_slide(path, backend="openslide"))
    padded = np.full((500, 600, 3), 255, np.uint8)
    padded[100:400, 100:500] = pixels
    for slide in readers:
        assert slide.dimensions_px == (400, 300)
        for x, y, w, h in [(0, 0, 400, 300), (13, 101, 200, 77), (-50, -60, 128, 128), (350, 250, 140, 140)]:
            region = slide.read_region(x, y, w, h).astype(int)
            expected = padded[100 + y : 100 + y + h, 100 + x : 100 + x + w].astype(int)
            assert np.abs(region - expected).max() <= tolerance, (slide.backend, x, y)


def test_deflate_with_predictor_leaves_the_process_alive(tmp_path, write_tiff, pixels):
    path = write_tiff(tmp_path / "a.tif", [pixels], compression="zlib", predictor=True)
    code = (
        "import sys; from hmgdm_monai.data.slides.slide import open_slide\n"
        "print(open_slide(sys.argv[1]).read_regions([[0, 0], [99, 50]], 128, 0.5, 2).sum())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = pixels[:128, :128].sum() + pixels[50:178, 99:227].sum()
    assert int(done.stdout) == expected
    with pytest.raises(InputError, match="cucim must not open it"):
        open_slide(path, backend="cucim")


@pytest.mark.parametrize("where", ["tif", "png"])
def test_gray_rgba_and_sixteen_bit_become_rgb_over_white(tmp_path, pixels, where):
    gray = pixels[..., 0]
    alpha = np.zeros(gray.shape, np.uint8)
    alpha[:, 100:200], alpha[:, 200:] = 51, 255
    over_white = np.rint(255 - (255 - pixels.astype(float)) * (alpha / 255.0)[..., None]).astype(int)
    wide = gray.astype(np.uint16) * 257
    cases = {
        "gray": (gray, np.repeat(gray[..., None], 3, -1)),
        "rgba": (np.dstack([pixels, alpha]), over_white),
        "gray16": (wide, np.repeat(gray[..., None], 3, -1)),
    }
    if where == "tif":
        cases["rgb16"] = (pixels.astype(np.uint16) * 257, pixels)
    for name, (stored, expected) in cases.items():
        path = tmp_path / f"{name}.{where}"
        if where == "png":
            Image.fromarray(stored).save(path)
        else:
            kind = {"photometric": "rgb" if stored.ndim == 3 else "minisblack", "metadata": None}
            extra = {"extrasamples": ["unassalpha"]} if name == "rgba" else {}
            tifffile.imwrite(path, stored, tile=(64, 64), compression="zlib", **kind, **extra)
        slide = open_slide(path)
        region = slide.read_region(50, 20, 300, 200).astype(int)
        assert np.abs(region - expected[20:220, 50:350].astype(int)).max() <= 1, name


def test_planar_palette_and_inverted_tiffs(tmp_path, pixels):
    path = tmp_path / "planar.tif"
    tifffile.imwrite(path, np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate", tile=(64, 64))
    np.testing.assert_array_equal(open_slide(path).read_region(30, 40, 200, 150), pixels[40:190, 30:230])
    path = tmp_path / "inverted.tif"
    tifffile.imwrite(path, 255 - pixels[..., 1], photometric="miniswhite", tile=(64, 64))
    assert (open_slide(path).read_region(30, 40, 200, 150) == pixels[40:190, 30:230, 1:2]).all()
    path = tmp_path / "palette.tif"
    palette = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(path, pixels[..., 0], photometric="palette", colormap=palette, tile=(64, 64))
    expected = np.moveaxis(palette[:, pixels[40:190, 30:230, 0]], 0, -1) // 257
    np.testing.assert_array_equal(open_slide(path).read_region(30, 40, 200, 150), expected)


def test_pyramid_in_subifds_shows_its_levels(tmp_path, pixels):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, ome=False) as writer:
        writer.write(pixels, tile=(64, 64), subifds=2, photometric="rgb", metadata=None)
        for step in (2, 4):
            writer.write(pixels[::step, ::step], tile=(64, 64), subfiletype=1, photometric="rgb", metadata=None)
    slide = open_slide(path, mpp=0.5)
    assert slide.level_downsamples == pytest.approx([1, 2, 4])
    np.testing.assert_array_equal(slide.read_region(40, 20, 50, 50, 2.0), pixels[::4, ::4][5:55, 10:60])


@pytest.mark.parametrize("width", [769, 401, 333, 214, 143, 62])
def test_cucim_reads_the_level_pixel_that_was_asked_for(tmp_path, write_tiff, width):
    def numbered(width: int) -> np.ndarray:
        y, x = np.mgrid[: round(width * 0.6), :width]
        return np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], -1).astype(np.uint8)

    fine, coarse = numbered(1000), numbered(width)
    slide = open_slide(write_tiff(tmp_path / "a.tif", [fine, coarse], tile_px=64))
    assert (slide.backend, len(slide.level_sizes_px)) == ("cucim", 2)
    handle = slide._opened()
    for i in range(coarse.shape[1]):
        assert (handle.read(1, i, 0, 1, 1)[0, 0] == coarse[0, i]).all()
    for i in range(coarse.shape[0]):
        assert (handle.read(1, 0, i, 1, 1)[0, 0] == coarse[i, 0]).all()


def test_a_tiled_page_of_another_shape_is_no_level(tmp_path, write_tiff, pixels):
    slide = open_slide(write_tiff(tmp_path / "a.tif", [pixels, pixels[:100, :200]]))
    assert slide.level_sizes_px == [(400, 300)]
    np.testing.assert_array_equal(slide.read_region(20, 30, 64, 64, 0.5), pixels[30:94, 20:84])


def test_formats_that_nobody_reads_say_why(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "float.tif", pixels.astype(np.float32), photometric="rgb", tile=(64, 64))
    with pytest.raises(InputError, match="float32"):
        open_slide(tmp_path / "float.tif")
    tifffile.imwrite(
        tmp_path / "many.tif", np.zeros((64, 64, 7), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(InputError, match="7 channels"):
        open_slide(tmp_path / "many.tif")


def test_mpp_of_aperio_and_ome_descriptions_and_of_nonsense(tmp_path, pixels):
    for name, description, resolution, mpp in [
        ("aperio", "Aperio Image Library v1\r\n400x300|AppMag = 40|MPP = 0.2525", None, 0.2525),
        ("ome", '<OME><Pixels PhysicalSizeX="250" PhysicalSizeXUnit="nm"/></OME>', None, 0.25),
        ("printer", None, (72, 72, "INCH"), None),
        ("inch", None, (50800, 50800, "INCH"), 0.5),
        ("none", None, None, None),
    ]:
        options = {} if resolution is None else {"resolution": resolution[:2], "resolutionunit": resolution[2]}
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(
            path, pixels, photometric="rgb", tile=(64, 64), description=description, metadata=None, **options
        )
        found = open_slide(path).mpp
        assert found == (None if mpp is None else pytest.approx(mpp)), name
