"""Write figures and images to PNG files, whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.data.whole_file import write_whole
from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a matplotlib figure as PNG; its folder is made, a file that stands there is replaced.

    Args:
        figure: any matplotlib figure.
        path: where the file is to stand, ending in ``.png``.
        dpi: dots per inch.

    Returns:
        The path.

    Raises:
        InputError: the path does not end in ``.png``, or the disk is full.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return _write_png(path, buffer)


def save_image(image: np.ndarray, path: str | os.PathLike[str]) -> Path:
    """Write an image (H, W, 3) uint8 as PNG; errors are those of :func:`save_figure`."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return _write_png(path, buffer)


def _write_png(path: str | os.PathLike[str], buffer: io.BytesIO) -> Path:
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: figures are written as PNG; give a name that ends in .png.")
    return write_whole(path, buffer.getvalue())
