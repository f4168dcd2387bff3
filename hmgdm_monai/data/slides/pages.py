"""Find the pages of a TIFF that are the slide: its levels, finest first, without labels, macros and other scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import tifffile

from hmgdm_monai.data.slides.ome_xml import OmeImage, ome_images
from hmgdm_monai.data.slides.scale import UNKNOWN, Mpp, tag_mpp
from hmgdm_monai.errors import InputError

_RGB = ({"", "r", "red"}, {"", "g", "green"}, {"", "b", "blue"})


@dataclass(frozen=True)
class SlidePages:
    """The slide within a TIFF.

    Attributes:
        levels: pages of each level, finest first: one page, or three single-channel pages for red, green and blue.
        mpp: microns per pixel along x and y, from the OME-XML of the image, otherwise from the tags of the first page.
    """

    levels: tuple[tuple[tifffile.TiffPage, ...], ...]
    mpp: Mpp

    @property
    def base(self) -> tifffile.TiffPage:
        """The page of the finest level, or its red page."""
        return self.levels[0][0]

    @property
    def sizes_px(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level."""
        return tuple((pages[0].imagewidth, pages[0].imagelength) for pages in self.levels)


def whole_pages(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """All pages of a file. tifffile returns ``TiffFrame``, a page that shares tags, only on request."""
    return cast(list[tifffile.TiffPage], list(tif.pages))


def slide_pages(tif: tifffile.TiffFile, path: Path) -> SlidePages:
    """Find the slide in an open file.

    In an OME-TIFF, it is the largest image in the XML, with the levels of this image. In other files it is the first
    page; its levels are its SubIFDs and the later pages that are marked as reduced (in Aperio files, which mark none,
    the tiled pages), if each is smaller than the one before and has the same aspect ratio and type.

    Args:
        tif: the open file.
        path: path of the file, for messages.

    Raises:
        InputError: the channels are in separate pages that are not red, green and blue, or the XML is unsafe.
    """
    pages = whole_pages(tif)
    try:
        images = ome_images(pages[0].description or "", len(pages))
    except ValueError as error:
        raise InputError(f"{path}: {error}; export it again") from error
    if not images:
        _refuse_stack(pages, path)
        levels = [(page,) for page in _pyramid(pages[0], pages[1:])]
        return SlidePages(tuple(levels), tag_mpp(pages[0]))
    image = max(images, key=lambda one: _area(pages[one.planes[0]]))
    planes = _color_planes(image, pages, path)
    others = {number for one in images for number in one.planes}
    rest = [page for number, page in enumerate(pages) if number not in others]
    pyramids = [list(_pyramid(plane, rest if len(planes) == 1 else ())) for plane in planes]
    mpp = image.mpp if image.mpp != UNKNOWN else tag_mpp(planes[0])
    return SlidePages(tuple(zip(*pyramids, strict=False)), mpp)


def _pyramid(base: tifffile.TiffPage, later: Iterable[tifffile.TiffPage]) -> Iterator[tifffile.TiffPage]:
    """Yield a page and, from its SubIFDs and later pages, those that show the same image at decreasing sizes."""
    aperio = (base.description or "").startswith("Aperio")
    yield base
    last = base
    marked = [page for page in later if page.is_tiled and aperio or page.subfiletype & 1]
    for page in [*marked, *(base.pages or ())]:
        # One pixel of rounding on the smaller page changes the aspect ratio by this much.
        slack = 2.0 / max(1, min(page.imagewidth, page.imagelength))
        aspect = (page.imagewidth * base.imagelength) / max(1, page.imagelength * base.imagewidth)
        same_kind = page.samplesperpixel == base.samplesperpixel and page.dtype == base.dtype
        same_kind &= page.is_tiled or not base.is_tiled
        if same_kind and 0 < page.imagewidth < last.imagewidth and abs(aspect - 1) <= slack:
            yield page
            last = page


def _color_planes(image: OmeImage, pages: list[tifffile.TiffPage], path: Path) -> list[tifffile.TiffPage]:
    """The page of an image, or its three single-channel pages."""
    planes = [pages[number] for number in image.planes]
    if len(planes) == 1 or planes[0].samplesperpixel > 1:
        return planes[:1]
    names = [name.lower() for name in image.channels] or [""] * len(planes)
    named_rgb = len(names) == 3 and all(name in allowed for name, allowed in zip(names, _RGB, strict=True))
    if len(planes) != 3 or image.fluorescent or not named_rgb or len({_kind(plane) for plane in planes}) > 1:
        called = ", ".join(name for name in image.channels if name)
        raise InputError(
            f"{path}: holds {len(planes)} channels{f' ({called})' if called else ''} in a page each, which are not "
            "red, green and blue of one size; export it as RGB"
        )
    return planes


def _refuse_stack(pages: list[tifffile.TiffPage], path: Path) -> None:
    """Raise if the first page is one of several channels or planes that are stored in separate pages."""
    alike = [page for page in pages if page.samplesperpixel == 1 and _kind(page) == _kind(pages[0])]
    if len(alike) > 1:
        raise InputError(
            f"{path}: holds {len(alike)} pages of one channel and one size, and it is unknown which are red, green and "
            "blue; export it as RGB"
        )


def _kind(page: tifffile.TiffPage) -> tuple[object, ...]:
    return page.imagewidth, page.imagelength, page.samplesperpixel, page.dtype


def _area(page: tifffile.TiffPage) -> int:
    return page.imagewidth * page.imagelength
