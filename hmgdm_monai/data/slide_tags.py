"""What a file says of itself before any slide library opens it: pyramid levels, microns per pixel, who can read it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import tifffile

from hmgdm_monai.errors import InputError

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
PLAIN_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Formats that cuCIM knows, or that are plain pyramids. Others (NDPI, SCN, BIF, ...) keep levels and overlaps in ways of
# their own, which OpenSlide undoes.
CUCIM_VENDORS = {None, "aperio", "generic-tiff"}
CUCIM_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate"}
# A resolution tag coarser than this is a printer's dots per inch (72 dpi = 353 um), not a scanner's pixel.
COARSEST_MPP = 20.0
_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # ResolutionUnit: inch, centimetre
_OME_UNIT_UM = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}


@dataclass(frozen=True)
class SlideTags:
    """What stands in a file's header.

    Attributes:
        backends: names of the backends worth trying, best first.
        refused: backend -> why it must not open this file.
        mpp: microns per pixel of level 0, or None where the file does not say.
        level_sizes_px: (width, height) of each level; empty where only the backend can tell.
        plain: a single image rather than a slide: PNG, JPEG, or a TIFF without tiles and pyramid.
    """

    backends: tuple[str, ...]
    refused: dict[str, str]
    mpp: float | None
    level_sizes_px: tuple[tuple[int, int], ...]
    plain: bool


def read_slide_tags(path: Path) -> SlideTags:
    """Read a file's header and decide who may open it.

    The choice is made from the tags because cuCIM's process *dies* on some files (deflate with predictor 2), so that
    trying and catching is no way to find out.

    Raises:
        InputError: no such file, empty, or a TIFF whose directory or pixels lie beyond the end of the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path (paths in a manifest are relative to its folder)")
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise InputError(f"{path}: the file is empty; copy it again")
    if magic in TIFF_MAGIC:
        return _read_tiff(path)
    # A .mrxs file is itself a small JPEG, so OpenSlide is asked before an image library is.
    if path.suffix.lower() not in PLAIN_SUFFIXES and _vendor(path) is not None:
        return SlideTags(("openslide",), {}, None, (), False)
    return SlideTags(("image",), {}, None, (), True)


def level_pages(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Pages that form the pyramid, finest first: page 0, then every smaller page of the same shape, SubIFDs included.

    Labels, macros and thumbnails of a tiled slide are left out: they are not tiled, or of another aspect.
    """
    base = tif.pages[0]
    found = [base]
    for page in [*tif.pages[1:], *(base.pages or ())]:
        reduced = page.is_tiled if base.is_tiled else bool(page.subfiletype & 1)
        last = found[-1]
        # One pixel of rounding on the smaller page is this much of the aspect ratio.
        slack = 2.0 / max(1, min(page.imagewidth, page.imagelength))
        aspect = (page.imagewidth * base.imagelength) / max(1, page.imagelength * base.imagewidth)
        same_kind = page.samplesperpixel == base.samplesperpixel and page.dtype == base.dtype
        if reduced and same_kind and page.imagewidth < last.imagewidth and abs(aspect - 1) <= slack:
            found.append(page)
    return found


def _read_tiff(path: Path) -> SlideTags:
    try:
        with tifffile.TiffFile(path) as tif:
            pages = level_pages(tif)
            vendor = _vendor(path)
            cut = _cut_short(tif, pages, path.stat().st_size)
            if cut:
                raise InputError(f"{path}: truncated TIFF ({cut}); copy or download it again")
            if strange := _not_grey_nor_rgb(pages[0]):
                raise InputError(f"{path}: {strange}; export it as 8-bit RGB")
            mpp = _mpp_of(tif.pages[0])
            reasons = {"cucim": _cucim_refuses(pages, vendor), "tifffile": _tifffile_refuses(pages, vendor)}
            refused = {name: reason for name, reason in reasons.items() if reason}
            # OpenSlide knows the vendors' formats; of generic TIFFs tifffile reads more.
            order = ["cucim", "openslide", "tifffile"]
            if vendor in (None, "generic-tiff"):
                order = ["cucim", "tifffile", "openslide"]
            if vendor is None:
                refused["openslide"] = "OpenSlide does not know this format"
            sizes = tuple((page.imagewidth, page.imagelength) for page in pages)
            plain = len(pages) == 1 and not pages[0].is_tiled
    except InputError:
        raise
    except Exception as error:  # a broken header makes tifffile trip in many ways
        raise InputError(f"{path}: cannot be read as a TIFF ({_one_line(error)}); copy or convert it again") from error
    return SlideTags(tuple(n for n in order if n not in refused), refused, mpp, sizes, plain)


def _vendor(path: Path) -> str | None:
    """OpenSlide's name of the format, or None."""
    import openslide

    return openslide.OpenSlide.detect_format(os.fspath(path))


def _cut_short(tif: tifffile.TiffFile, pages: list[tifffile.TiffPage], size: int) -> str | None:
    """Where the file ends before its directory or its pixels do; None where it is whole."""
    if not pages[0].dataoffsets:
        return "it holds no pixels"
    for level, page in enumerate(pages):
        end = max(start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if end > size:
            return f"level {level} needs {end} bytes, the file has {size}"
    # tifffile stops at a directory beyond the end of the file; the last page's pointer to a next one tells.
    last, form = tif.pages[-1], tif.tiff
    handle = tif.filehandle
    handle.seek(last.offset)
    n_tags = int.from_bytes(handle.read(form.tagnosize), "little" if tif.byteorder == "<" else "big")
    handle.seek(last.offset + form.tagnosize + n_tags * form.tagsize)
    if int.from_bytes(handle.read(form.offsetsize), "little" if tif.byteorder == "<" else "big") >= size:
        return "a directory lies beyond the end of the file"
    return None


def _cucim_refuses(pages: list[tifffile.TiffPage], vendor: str | None) -> str | None:
    """Why cuCIM must not open these pages (measured with cuCIM 26.10 on a CPU), or None."""
    if vendor not in CUCIM_VENDORS:
        return f"cuCIM does not know the format {vendor}"
    page = pages[0]
    if any(not p.is_tiled for p in pages):
        return "cuCIM returns stripped files with a fourth channel"
    if page.pages is not None and len(page.pages) and len(pages) > 1:
        return "cuCIM sees one level only of a pyramid in SubIFDs"
    for page in pages:
        codec = CUCIM_COMPRESSIONS.get(int(page.compression))
        if codec is None:
            return f"cuCIM does not decode {_codec(page)}"
        if codec == "deflate" and page.predictor != 1:
            return "cuCIM crashes on deflate with a predictor"
        if page.predictor not in (1, 2):
            return f"cuCIM does not undo predictor {int(page.predictor)}"
        if page.samplesperpixel != 3 or page.dtype != "uint8" or page.planarconfig != 1:
            return "cuCIM reads 8-bit interleaved RGB only"
        if page.photometric not in ((2, 6) if codec == "JPEG" else (2,)):
            return f"cuCIM does not convert {page.photometric!s} with {codec}"
    return None


def _tifffile_refuses(pages: list[tifffile.TiffPage], vendor: str | None) -> str | None:
    """Why pages cannot be decoded segment by segment to RGB, or None."""
    if vendor not in CUCIM_VENDORS | {"trestle", "philips"}:
        return f"the tiles of {vendor} overlap or lie apart"
    page = pages[0]
    if page.photometric not in (0, 1, 2, 3) and not (page.photometric == 6 and page.compression in (6, 7)):
        return f"no conversion of {page.photometric!s} in {_codec(page)} to RGB"
    return None


def _not_grey_nor_rgb(page: tifffile.TiffPage) -> str | None:
    """Why these pixels are no picture that any backend may show, or None; OpenSlide would show floats as noise."""
    if page.dtype is None or page.dtype.kind not in "bu" or page.dtype.itemsize > 2:
        return f"pixels of type {page.dtype} have no known white"
    if page.samplesperpixel > 4 or page.imagedepth != 1:
        return f"{page.samplesperpixel} channels, depth {page.imagedepth}: neither grey nor RGB"
    return None


def _codec(page: tifffile.TiffPage) -> str:
    return str(getattr(page.compression, "name", page.compression))


def _mpp_of(page: tifffile.TiffPage) -> float | None:
    """Microns per pixel by Aperio's `MPP`, OME's `PhysicalSizeX` or the resolution tags, where plausible."""
    text = page.description or ""
    if found := re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", text):
        return plausible_mpp(found[1])
    if found := re.search(r'\bPhysicalSizeX="([^"]+)"', text):
        unit = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', text)
        factor = _OME_UNIT_UM.get(unit[1] if unit else "µm")
        return None if factor is None else plausible_mpp(found[1], factor)
    unit_um = _UNIT_UM.get(int(page.tags.valueof(296, default=2)))
    resolution = page.tags.valueof(282)
    if unit_um is None or not resolution or not resolution[0]:
        return None
    return plausible_mpp(unit_um * resolution[1] / resolution[0])


def plausible_mpp(value: object, factor: float = 1.0) -> float | None:
    """`value * factor` where that can be a microscope's pixel (0 < mpp <= 20 um), else None."""
    try:
        mpp = float(value) * factor  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return mpp if 0 < mpp <= COARSEST_MPP else None


def _one_line(error: BaseException) -> str:
    """First line of an error's text, for a message of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
