"""Plain images, which are held completely in memory and are therefore limited in size."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from hmgdm_monai.data.slides.backend import SlideBackend
from hmgdm_monai.data.slides.jpeg_check import JpegCheck
from hmgdm_monai.data.slides.rgb import to_rgb8
from hmgdm_monai.errors import InputError

MAX_IMAGE_PX = 178_956_970  # above this size Pillow suspects an attack
MAX_IMAGE_VARIABLE = "HMGDM_MAX_IMAGE_PX"
_FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "BMP", "GIF", "PPM")  # not EPS, for which Pillow runs programs
_PILLOWS_LIMIT = threading.Lock()


def image_limit_px(given: int | None = None) -> int:
    """Maximum number of pixels decoded at once: `given`, otherwise HMGDM_MAX_IMAGE_PX, otherwise 179 million.

    Raises:
        InputError: the environment variable is not a whole number above 0.
    """
    if given is not None:
        return given
    text = os.environ.get(MAX_IMAGE_VARIABLE, "").strip()
    if not text:
        return MAX_IMAGE_PX
    if not text.isdecimal() or int(text) == 0:
        raise InputError(f"{MAX_IMAGE_VARIABLE}: must be a whole number of pixels above 0, not {text!r}")
    return int(text)


def check_image_size(path: Path, width_px: int, height_px: int, limit_px: int, what: str = "image") -> None:
    """Raise an InputError if an image has more pixels than the limit.

    Args:
        path: path of the file, for the message.
        width_px: width in px.
        height_px: height in px.
        limit_px: maximum number of pixels.
        what: name of the decoded part in the message, for example "tile".
    """
    if width_px * height_px > limit_px:
        raise InputError(
            f"{path}: its {what} of {width_px} x {height_px} px is decoded at once, and more than {limit_px} px are "
            f"treated as a decompression bomb; if it is not one, tile it or set {MAX_IMAGE_VARIABLE}"
        )


@contextmanager
def opened_image(path: Path, limit_px: int) -> Iterator[Image.Image]:
    """Open a plain image without decoding it.

    Args:
        path: path of the file.
        limit_px: maximum number of pixels.

    Raises:
        InputError: it has more pixels than the limit.
    """
    with _PILLOWS_LIMIT:  # Pillow's limit is global; our own check gives a better message
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path, formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = theirs
    with image:
        check_image_size(path, *image.size, limit_px)
        yield image


class ImageBackend(SlideBackend):
    """PNG, JPEG and other formats of Pillow: one level, the whole image in memory."""

    name = "image"

    def __init__(self, path: Path, max_image_px: int) -> None:
        with opened_image(path, max_image_px) as image:
            if image.format in ("JPEG", "MPO") and (fault := JpegCheck().fault(path.read_bytes())):
                raise InputError(f"{path}: damaged, {fault}; copy it again")
            self._pixels = _rgb8(image)
        self.level_sizes_px = [(self._pixels.shape[1], self._pixels.shape[0])]

    def read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """See :meth:`SlideBackend.read`."""
        return self._pixels[y_px : y_px + height_px, x_px : x_px + width_px]


def _rgb8(image: Image.Image) -> np.ndarray:
    """Convert a PIL image to (h, w, 3) uint8 on a white background."""
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit gray; Pillow uses "I" for some PNGs
        return to_rgb8(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return to_rgb8(np.asarray(image.convert("RGBA")), alpha="straight")
    return np.array(image.convert("RGB"))
