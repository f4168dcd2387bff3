"""The slide decoding libraries by name; here also the two with their own file handles, cuCIM and OpenSlide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from hmgdm_monai.data.slides.backend import SlideBackend
from hmgdm_monai.data.slides.image_backend import ImageBackend
from hmgdm_monai.data.slides.pages import slide_pages
from hmgdm_monai.data.slides.rgb import to_rgb8
from hmgdm_monai.data.slides.scale import plausible_mpp
from hmgdm_monai.data.slides.tags import SlideTags
from hmgdm_monai.data.slides.tiff_backend import TifffileBackend
from hmgdm_monai.data.slides.tiff_segments import TiffSegments
from hmgdm_monai.errors import InputError


class CucimBackend(SlideBackend):
    """Tiled TIFF and Aperio SVS by cuCIM.

    cuCIM does not report a tile that it cannot decode: it returns the previously decoded one. Therefore all tiles of a
    region are checked before it reads the region.
    """

    name = "cucim"

    def __init__(self, path: Path, max_image_px: int) -> None:
        from cucim import CuImage

        self._file = path.open("rb", buffering=0)
        self._segments = _segments(path, self._file.fileno(), exact=True)
        for segments in self._segments:  # raises for files with smaller tiles at the border, which cuCIM must not read
            segments.read(segments.down - 1, segments.across - 1)
        self._image = CuImage(str(path))
        resolutions = self._image.resolutions
        self.level_sizes_px = [(int(w), int(h)) for w, h in resolutions["level_dimensions"]]
        self._downsamples = [float(d) for d in resolutions["level_downsamples"]]

    def _location(self, level: int, xy: int) -> int:
        """A level-0 coordinate that cuCIM, which floors coordinate / downsample, maps to pixel `xy` of the level."""
        downsample = self._downsamples[level]
        return math.floor((xy + 0.5) * downsample) if downsample >= 2 else math.ceil(xy * downsample)

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        self._segments[level].check(x_px, y_px, width_px, height_px)
        where = (self._location(level, x_px), self._location(level, y_px))
        return np.asarray(self._image.read_region(where, (width_px, height_px), level))

    def read_many(
        self, level: int, xy_px: np.ndarray, width_px: int, height_px: int, num_workers: int
    ) -> Iterator[np.ndarray]:
        """See :meth:`SlideBackend.read_many`; cuCIM decodes in advance with its own threads."""
        if num_workers <= 1 or len(xy_px) < 2:  # with one worker, cuCIM's batches are not faster than single reads
            yield from super().read_many(level, xy_px, width_px, height_px, 1)
            return
        for x, y in xy_px.tolist():
            self._segments[level].check(x, y, width_px, height_px)
        where = [(self._location(level, x), self._location(level, y)) for x, y in xy_px.tolist()]
        batch = self._image.read_region(where, (width_px, height_px), level, num_workers=num_workers, batch_size=1)
        for region in batch:
            yield np.asarray(region)

    def close(self) -> None:
        """Close the file."""
        self._image.close()
        self._file.close()


class OpenSlideBackend(SlideBackend):
    """Vendor formats by OpenSlide.

    OpenSlide reports what it cannot decode, except for truncated JPEG 2000 tiles. In Aperio files, where this codec is
    common, tiles are therefore checked first.
    """

    name = "openslide"

    def __init__(self, path: Path, max_image_px: int) -> None:
        import openslide

        self._slide = openslide.OpenSlide(str(path))
        self.level_sizes_px = [(int(w), int(h)) for w, h in self._slide.level_dimensions]
        axes = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        x, y = (plausible_mpp(self._slide.properties.get(axis)) for axis in axes)
        self.mpp_xy = (x, y)
        self._file, self._segments = None, []
        if self._slide.properties.get(openslide.PROPERTY_NAME_VENDOR) == "aperio":
            self._file = path.open("rb", buffering=0)
            segments = _segments(path, self._file.fileno())
            if [(one.page.imagewidth, one.page.imagelength) for one in segments] == self.level_sizes_px:
                self._segments = segments

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        if self._segments:
            self._segments[level].check(x_px, y_px, width_px, height_px)
        downsample = self._slide.level_downsamples[level]
        where = (round(x_px * downsample), round(y_px * downsample))
        region = np.asarray(self._slide.read_region(where, level, (width_px, height_px)))
        if region[..., 3].min() == 255:
            return np.ascontiguousarray(region[..., :3])
        return to_rgb8(region, alpha="straight")

    def close(self) -> None:
        """Close the file."""
        self._slide.close()
        if self._file is not None:
            self._file.close()


def _segments(path: Path, descriptor: int, exact: bool = False) -> list[TiffSegments]:
    """The segments of the page of each level."""
    with tifffile.TiffFile(path) as tif:
        pages = [level[0] for level in slide_pages(tif, path).levels]
    return [TiffSegments(path, descriptor, page, f"level {level}", exact) for level, page in enumerate(pages)]


BACKENDS: dict[str, type[SlideBackend]] = {
    backend.name: backend for backend in (CucimBackend, OpenSlideBackend, TifffileBackend, ImageBackend)
}


def open_backend(path: Path, tags: SlideTags, backend: str | None, max_image_px: int) -> tuple[str, SlideBackend]:
    """Open a file with the first library that its tags allow and that opens it; return its name and the handle.

    Args:
        path: path of the file.
        tags: tags of the file.
        backend: name of the library to use; None chooses by the tags.
        max_image_px: maximum number of pixels decoded at once.

    Raises:
        InputError: no library opens the file, or the requested one must not open it.
    """
    if backend is not None and backend not in BACKENDS:
        raise InputError(f"{path}: no backend {backend!r}; there are {', '.join(BACKENDS)}")
    if backend in tags.refused:
        raise InputError(f"{path}: {backend} must not open it: {tags.refused[backend]}; do not set the backend")
    failures: dict[str, str | Exception] = dict(tags.refused) if backend is None else {}
    for name in tags.backends if backend is None else (backend,):
        try:
            handle = BACKENDS[name](path, max_image_px)
        except Exception as error:  # each library has its own; all mean that it cannot open this file
            failures[name] = error
            continue
        if backend is None and tags.level_sizes_px and handle.level_sizes_px != list(tags.level_sizes_px):
            failures[name] = "uses other pages for the pyramid than the tags give"
            handle.close()
            continue
        return name, handle
    for failure in failures.values():
        if isinstance(failure, InputError):  # it already describes the fault of the file
            raise failure
    reasons = "; ".join(f"{name}: {_first_line(failure)}" for name, failure in failures.items())
    raise InputError(f"{path}: not readable as a slide or image ({reasons}); convert it to a tiled TIFF or PNG")


def _first_line(failure: str | Exception) -> str:
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0][:200]
