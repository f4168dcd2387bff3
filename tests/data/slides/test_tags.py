"""What a header tells: who may read the file, at what scale, and whether it can be what it declares."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.slides.tags import read_slide_tags
from hmgdm_monai.errors import InputError

SCN = "http://www.leica-microsystems.com/scn/2010/10/01"


def scn_image(name: str, width_nm: int, height_nm: int, offset_nm: int, levels: list[tuple[int, int, int]]) -> str:
    sizes = "".join(f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{n}"/>' for r, (w, h, n) in enumerate(levels))
    return (
        f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2020-01-01T00:00:00.000Z</creationDate>'
        f'<device model="Leica SCN400" version="1"/><pixels sizeX="{levels[0][0]}" sizeY="{levels[0][1]}">{sizes}'
        f'</pixels><view sizeX="{width_nm}" sizeY="{height_nm}" offsetX="{offset_nm}" offsetY="{offset_nm}"/>'
        "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
    )


def write_scn(path, scan: np.ndarray, macro_options: dict[str, object]) -> None:
    """A Leica file: page 0 is the macro of the whole glass at 16.4 um, then the scan at 0.5 um and its half."""
    glass = (100 * 16_438, 120 * 16_438)
    images = scn_image("image_0", *glass, 0, [(100, 120, 0)])
    images += scn_image("image_1", 256 * 500, 192 * 500, 400_000, [(256, 192, 1), (128, 96, 2)])
    size = f'sizeX="{glass[0]}" sizeY="{glass[1]}"'
    xml = f'<?xml version="1.0"?><scn xmlns="{SCN}"><collection name="c" uuid="urn:uuid:c" {size}>{images}'
    macro, tiled = np.full((120, 100, 3), 230, np.uint8), {"tile": (64, 64)}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for pixels, per_cm, text, options in (
            (macro, 608.333, xml + "</collection></scn>", macro_options),
            (scan, 20_000, None, tiled),
            (scan[::2, ::2], 10_000, None, tiled),
        ):
            options = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER", "compression": "jpeg", **options}
            tif.write(pixels, photometric="rgb", description=text, metadata=None, **options)


def test_the_vendors_reader_says_which_page_is_the_slide(tmp_path, stained):
    scan = stained(256, 192)
    write_scn(tmp_path / "a.scn", scan, {"tile": (64, 64)})
    slide = open_slide(tmp_path / "a.scn")
    assert (slide.backend, slide.plain, slide.mpp) == ("openslide", False, 0.5)
    assert np.abs(slide.read_region(800, 800, 256, 192).astype(int) - scan).mean() < 4
    with pytest.raises(InputError, match="tifffile must not open it"):
        open_slide(tmp_path / "a.scn", backend="tifffile")


def test_a_vendors_file_that_its_reader_does_not_know_is_not_read_by_its_first_page(tmp_path, stained):
    write_scn(tmp_path / "a.scn", stained(256, 192), {})  # a macro in strips
    with pytest.raises(InputError, match=r"a\.scn: a SCN file that OpenSlide cannot open"):
        open_slide(tmp_path / "a.scn")


def test_the_vendors_reader_is_asked_before_the_tags(tmp_path, stained):
    description = "Aperio Image Library v12\r\n128x128 [0,0,128x128] (64x64) JPEG/RGB|AppMag = 40|MPP = 0.2525"
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg", "metadata": None}
    resolution = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.svs", stained(128, 128), description=description, **options, **resolution)
    assert open_slide(tmp_path / "a.svs").mpp == pytest.approx(0.2525)
    tifffile.imwrite(tmp_path / "b.svs", stained(128, 128), description=description[:-6], **options, **resolution)
    assert open_slide(tmp_path / "b.svs").mpp == pytest.approx(1.0)  # it says nothing there; the tags do


def _patched(path, tag_code: int, value: int) -> None:
    with tifffile.TiffFile(path) as tif:
        tag, order = tif.pages[0].tags[tag_code], tif.byteorder
    content = bytearray(path.read_bytes())
    struct.pack_into(order + {3: "H", 4: "I"}[int(tag.dtype)], content, tag.valueoffset, value)
    path.write_bytes(content)


@pytest.mark.parametrize("side_tag", [256, 257])
def test_a_directory_that_lists_too_few_tiles_is_damaged(tmp_path, write_tiff, stained, side_tag):
    path = write_tiff(tmp_path / "a.tif", [stained(256, 256)], compression="jpeg")
    _patched(path, side_tag, 60_000)
    with pytest.raises(InputError, match=r"a\.tif: damaged, its directory lists 4 of the 938 segments of page 0"):
        open_slide(path)


@pytest.mark.parametrize("side_tag", [256, 257])
def test_a_picture_without_pixels_is_refused(tmp_path, write_tiff, stained, side_tag):
    path = write_tiff(tmp_path / "a.tif", [stained(256, 256)], compression="jpeg")
    _patched(path, side_tag, 0)
    with pytest.raises(InputError, match=r"a\.tif: truncated TIFF \(it holds no pixels\)"):
        open_slide(path)


@pytest.mark.parametrize("tiled", [True, False])
def test_a_tile_or_strip_that_decodes_to_gigabytes_is_refused_before(tmp_path, tiled):
    """Compressed zeros take a thousandth of what they declare."""
    path = tmp_path / "bomb.tif"
    side = 2048
    options = {"tile": (side, side)} if tiled else {"rowsperstrip": side}
    tifffile.imwrite(path, np.zeros((side, side, 3), np.uint8), photometric="rgb", compression="zlib", **options)
    assert path.stat().st_size < 30_000
    what = "tile" if tiled else "strip"
    with pytest.raises(InputError, match=rf"bomb\.tif: its {what} of 2048 x 2048 px .* HMGDM_MAX_IMAGE_PX"):
        open_slide(path, max_image_px=side**2 - 1)
    assert open_slide(path, max_image_px=side**2).read_region(0, 0, 9, 9).max() == 0
    for tag in (256, 257, 322, 323) if tiled else (256, 257, 278):
        _patched(path, tag, 60_000 if not tiled else 60_000 // 16 * 16)
    with pytest.raises(InputError, match="decompression bomb"):
        open_slide(path)


def test_a_codec_without_bounds_is_refused(tmp_path, stained):
    tifffile.imwrite(tmp_path / "a.tif", stained(64, 64), photometric="rgb", compression="jpegxl", metadata=None)
    with pytest.raises(InputError, match="no decoder for JPEGXL"):
        open_slide(tmp_path / "a.tif")


def test_tags_of_another_kind_of_file(tmp_path):
    for name in ("a.tif", "a.svs", "a.ome.tif"):
        (tmp_path / name).write_bytes(b"II*\0\x08\0\0\0\xff\xff" + bytes(range(256)))
        with pytest.raises(InputError, match=name) as caught:
            read_slide_tags(tmp_path / name)
        assert "\n" not in str(caught.value)
