"""Read levels and microns per pixel from a file's header, and decide which library may open it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tifffile

from hmgdm_monai.data.slides.image_backend import check_image_size, image_limit_px
from hmgdm_monai.data.slides.pages import SlidePages, slide_pages, whole_pages
from hmgdm_monai.data.slides.scale import UNKNOWN, Mpp, plausible_mpp
from hmgdm_monai.data.slides.tiff_segments import JPEG, RAW, segment_size_px
from hmgdm_monai.errors import InputError

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
PLAIN_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Formats that cuCIM supports, or that are plain pyramids. Others (NDPI, SCN, BIF, ...) store levels and overlaps in
# their own ways, which only OpenSlide handles.
CUCIM_VENDORS = {None, "aperio", "generic-tiff"}
# Codecs that cuCIM decodes correctly. It does not report tiles that it cannot decode, so it only gets codecs that can
# be checked without decoding. The others are decoded by libraries that report errors.
CUCIM_COMPRESSIONS = (RAW, JPEG)
APERIO_JPEG_2000 = (33003, 33005)
# Codecs that tifffile decodes within bounds; others could expand a small tile to gigabytes.
TIFFFILE_COMPRESSIONS = frozenset(
    {RAW, JPEG, 2, 3, 4, 5, 6, 8, 32773, 32946, 33003, 33004, 33005, 34712, 34925, 34926, 34927, 34933, 50000, 50001}
)


@dataclass(frozen=True)
class SlideTags:
    """Information from the header of a file.

    Attributes:
        backends: names of the backends to try, best first.
        refused: backend -> reason why it must not open this file.
        mpp_xy: microns per pixel of level 0 along x and y; None if the header has none, or if only the vendor's reader
            can read them.
        level_sizes_px: (width, height) of each level; empty if only the backend can determine them.
        plain: whether it is a single image and not a slide: PNG, JPEG, or a TIFF without tiles and pyramid.
    """

    backends: tuple[str, ...]
    refused: dict[str, str]
    mpp_xy: Mpp
    level_sizes_px: tuple[tuple[int, int], ...]
    plain: bool


def read_slide_tags(path: Path, max_image_px: int | None = None) -> SlideTags:
    """Read a file's header and decide which backends may open it.

    The tags decide because cuCIM *crashes* the process on some files (deflate with predictor 2), so it is not possible
    to try it and catch an error.

    Args:
        path: path of the file.
        max_image_px: see :func:`hmgdm_monai.data.slides.slide.open_slide`.

    Returns:
        The tags.

    Raises:
        InputError: the file does not exist, is empty or is not an image, is a decompression bomb, or is a TIFF whose
            directory or pixels lie beyond the end of the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path (paths in a manifest are relative to its folder)")
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise InputError(f"{path}: the file is empty; copy it again")
    if magic in TIFF_MAGIC:
        return _read_tiff(path, image_limit_px(max_image_px))
    # A .mrxs file is itself a small JPEG, so OpenSlide is tried before an image library.
    if path.suffix.lower() not in PLAIN_SUFFIXES and _vendor(path) is not None:
        return SlideTags(("openslide",), {}, UNKNOWN, (), False)
    return SlideTags(("image",), {}, UNKNOWN, (), True)


def _read_tiff(path: Path, max_image_px: int) -> SlideTags:
    try:
        with tifffile.TiffFile(path) as tif:
            vendor = _vendor(path)
            if vendor not in CUCIM_VENDORS:
                # Only OpenSlide knows which pages are the slide, and how its tiles are arranged.
                _check_whole(path, tif, whole_pages(tif), counted=False)
                refused = dict.fromkeys(("cucim", "tifffile"), f"the pages of {vendor} are not its levels")
                return SlideTags(("openslide",), refused, UNKNOWN, (), False)
            if foreign := [name for name in ("scn", "ndpi", "bif") if getattr(tif, f"is_{name}")]:
                raise InputError(f"{path}: a {foreign[0].upper()} file that OpenSlide cannot open; export it again")
            slide = slide_pages(tif, path)
            _check_whole(path, tif, [page for level in slide.levels for page in level])
            if strange := _not_gray_nor_rgb(slide):
                raise InputError(f"{path}: {strange}; export it as 8-bit RGB")
            for page in (page for level in slide.levels for page in level if page.compression != RAW):
                check_image_size(path, *segment_size_px(page), max_image_px, "tile" if page.is_tiled else "strip")
            sizes, mpp = slide.sizes_px, slide.mpp
            theirs = _openslide_says(path) if vendor == "aperio" else None
            reasons = {
                "cucim": _cucim_refuses(slide),
                "tifffile": _tifffile_refuses(slide),
                "openslide": _openslide_refuses(slide, vendor),
            }
            if theirs is not None:
                sizes, mpp = theirs[0], theirs[1] if theirs[1] != UNKNOWN else mpp
                if sizes != slide.sizes_px:
                    reasons |= dict.fromkeys(("cucim", "tifffile"), "OpenSlide uses other pages as its levels")
            refused = {name: reason for name, reason in reasons.items() if reason}
            # OpenSlide supports Aperio's variants of JPEG 2000; for other codecs tifffile reads and reports more.
            order = ["cucim", "tifffile", "openslide"]
            if slide.base.compression in APERIO_JPEG_2000:
                order = ["openslide", "tifffile"]
            plain = vendor != "aperio" and len(slide.levels) == 1 and not slide.base.is_tiled
    except InputError:
        raise
    except Exception as error:  # a damaged header makes tifffile raise many kinds of errors
        raise InputError(f"{path}: cannot be read as a TIFF ({_one_line(error)}); copy or convert it again") from error
    return SlideTags(tuple(name for name in order if name not in refused), refused, mpp, sizes, plain)


def _openslide_says(path: Path) -> tuple[tuple[tuple[int, int], ...], Mpp] | None:
    """Level sizes and microns per pixel as reported by OpenSlide; None if it cannot open the file."""
    import openslide

    try:
        with openslide.OpenSlide(path) as slide:
            sizes = tuple((int(width), int(height)) for width, height in slide.level_dimensions)
            axes = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
            x, y = (plausible_mpp(slide.properties.get(axis)) for axis in axes)
    except openslide.OpenSlideError:
        return None
    return sizes, (x, y)


def _vendor(path: Path) -> str | None:
    """OpenSlide's name of the format, or None."""
    import openslide

    return openslide.OpenSlide.detect_format(os.fspath(path))


def _check_whole(path: Path, tif: tifffile.TiffFile, pages: list[tifffile.TiffPage], counted: bool = True) -> None:
    """Raise if the file ends before its directory or its pixels, or if the directory lists too few segments."""
    size = path.stat().st_size
    if not pages[0].dataoffsets or not pages[0].imagewidth or not pages[0].imagelength:
        raise InputError(f"{path}: truncated TIFF (it holds no pixels); copy or download it again")
    for number, page in enumerate(pages):
        width, height = segment_size_px(page)
        wanted = math.ceil(page.imagewidth / width) * math.ceil(page.imagelength / height)
        wanted *= page.samplesperpixel if page.planarconfig == 2 else 1
        listed = min(len(page.dataoffsets), len(page.databytecounts))
        if counted and listed < wanted:
            what = f"its directory lists {listed} of the {wanted} segments of page {number}"
            raise InputError(f"{path}: damaged, {what}; copy or export it again")
        ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if (end := max(ends, default=0)) > size:
            what = f"page {number} needs {end} bytes, the file has {size}"
            raise InputError(f"{path}: truncated TIFF ({what}); copy or download it again")
    # tifffile stops at a directory beyond the end of the file; check the last page's pointer to the next directory.
    last, form = tif.pages[-1], tif.tiff
    handle = tif.filehandle
    handle.seek(last.offset)
    order: Literal["little", "big"] = "little" if tif.byteorder == "<" else "big"
    n_tags = int.from_bytes(handle.read(form.tagnosize), order)
    handle.seek(last.offset + form.tagnosize + n_tags * form.tagsize)
    if int.from_bytes(handle.read(form.offsetsize), order) >= size:
        raise InputError(
            f"{path}: truncated TIFF (a directory lies beyond the end of the file); copy or download it again"
        )


def _cucim_refuses(slide: SlidePages) -> str | None:
    """Reason why cuCIM must not open these pages (measured with cuCIM 26.10 on a CPU), or None."""
    pages = [level[0] for level in slide.levels]
    if len(slide.levels[0]) > 1 or slide.base.index != 0:
        return "cuCIM uses the first page as the slide"
    if any(not page.is_tiled for page in pages):
        return "cuCIM returns stripped files with a fourth channel"
    if slide.base.pages is not None and len(slide.base.pages) and len(pages) > 1:
        return "cuCIM finds only one level of a pyramid in SubIFDs"
    for page in pages:
        if page.compression not in CUCIM_COMPRESSIONS:
            return f"cuCIM is only used for raw pixels and JPEG, not {_codec(page)}"
        if page.predictor != 1:
            return f"cuCIM does not undo predictor {int(page.predictor)}"
        if page.samplesperpixel != 3 or page.dtype != "uint8" or page.planarconfig != 1:
            return "cuCIM reads 8-bit interleaved RGB only"
        if page.photometric not in ((2, 6) if page.compression == JPEG else (2,)):
            return f"cuCIM does not convert {page.photometric!s} with {_codec(page)}"
        if not all(page.databytecounts) or not all(page.dataoffsets):
            return "cuCIM shows tiles that were never written as black"
    return None


def _tifffile_refuses(slide: SlidePages) -> str | None:
    """Reason why the pages cannot be decoded segment by segment to RGB, or None."""
    page = slide.base
    if page.compression not in TIFFFILE_COMPRESSIONS:
        return f"no decoder for {_codec(page)} that limits its output to the size of a tile"
    if page.photometric not in (0, 1, 2, 3) and not (page.photometric == 6 and page.compression in (6, 7)):
        return f"no conversion of {page.photometric!s} in {_codec(page)} to RGB"
    return None


def _openslide_refuses(slide: SlidePages, vendor: str | None) -> str | None:
    """Reason why OpenSlide would not show the slide itself, or None."""
    if vendor is None:
        return "OpenSlide does not know this format"
    if len(slide.levels[0]) > 1 or slide.base.index != 0:
        return "OpenSlide uses the first page as the slide"
    return None


def _not_gray_nor_rgb(slide: SlidePages) -> str | None:
    """Reason why no backend may show these pixels as an image, or None; OpenSlide would show floats as noise."""
    page = slide.base
    if page.dtype is None or page.dtype.kind not in "bu" or page.dtype.itemsize > 2:
        return f"pixels of type {page.dtype} have no known white"
    if page.samplesperpixel > 4 or page.imagedepth != 1:
        return f"{page.samplesperpixel} channels, depth {page.imagedepth}: neither gray nor RGB"
    return None


def _codec(page: tifffile.TiffPage) -> str:
    return str(getattr(page.compression, "name", page.compression))


def _one_line(error: BaseException) -> str:
    """First line of an error's text, for a one-line message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
