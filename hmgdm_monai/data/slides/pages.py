"""Which pages of a TIFF are the slide: its levels, finest first, and none of the labels, macros and other scans."""

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
        levels: pages of each level, finest first: one page, or three of one channel each, red, green and blue.
        mpp: microns per pixel along x and y, by the series of an OME-TIFF, else by the first page's tags.
    """

    levels: tuple[tuple[tifffile.TiffPage, ...], ...]
    mpp: Mpp

    @property
    def base(self) -> tifffile.TiffPage:
        """The page of the finest level, or the first of them."""
        return self.levels[0][0]

    @property
    def sizes_px(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level."""
        return tuple((pages[0].imagewidth, pages[0].imagelength) for pages in self.levels)


def whole_pages(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """All pages of a file. ``TiffFrame``, a page that shares tags of another, stands for one only where asked for."""
    return cast(list[tifffile.TiffPage], list(tif.pages))


def slide_pages(tif: tifffile.TiffFile, path: Path) -> SlidePages:
    """Find the slide in an open file.

    In an OME-TIFF it is the largest image that the XML tells of, and levels are those of this image. Elsewhere it is
    the first page. Levels are its SubIFDs and the later pages that are marked as reduced (in Aperio's files, which mark
    none, the tiled ones), as far as they are smaller than the one before, and of the same shape and kind.

    Raises:
        InputError: channels in a page each that are not red, green and blue, or unsafe XML.
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
    """A page, and of its SubIFDs and of later pages those that show the same, smaller and smaller."""
    aperio = (base.description or "").startswith("Aperio")
    yield base
    last = base
    marked = [page for page in later if page.is_tiled and aperio or page.subfiletype & 1]
    for page in [*marked, *(base.pages or ())]:
        # One pixel of rounding on the smaller page is this much of the aspect ratio.
        slack = 2.0 / max(1, min(page.imagewidth, page.imagelength))
        aspect = (page.imagewidth * base.imagelength) / max(1, page.imagelength * base.imagewidth)
        same_kind = page.samplesperpixel == base.samplesperpixel and page.dtype == base.dtype
        same_kind &= page.is_tiled or not base.is_tiled
        if same_kind and 0 < page.imagewidth < last.imagewidth and abs(aspect - 1) <= slack:
            yield page
            last = page


def _color_planes(image: OmeImage, pages: list[tifffile.TiffPage], path: Path) -> list[tifffile.TiffPage]:
    """The page of an image, or its three pages of one channel each."""
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
    """Raise where the first page is one of several channels or planes, each in a page of its own."""
    alike = [page for page in pages if page.samplesperpixel == 1 and _kind(page) == _kind(pages[0])]
    if len(alike) > 1:
        raise InputError(
            f"{path}: holds {len(alike)} pages of one channel and one size, and does not tell which are red, green and "
            "blue; export it as RGB"
        )


def _kind(page: tifffile.TiffPage) -> tuple[object, ...]:
    return page.imagewidth, page.imagelength, page.samplesperpixel, page.dtype


def _area(page: tifffile.TiffPage) -> int:
    return page.imagewidth * page.imagelength
