"""Write figures to PNG files, completely or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a matplotlib figure as PNG; its folder is created, an existing file is replaced.

    Dollar signs in its texts are shown as they are: names of classes and files contain them, and are no formulas.

    Args:
        figure: any matplotlib figure.
        path: file to write, ending in ``.png``.
        dpi: dots per inch.

    Returns:
        Path of the file.

    Raises:
        InputError: the path does not end in ``.png``, or the disk is full.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: figures are written as PNG; give a name that ends in .png.")
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        # Numbers on logarithmic axes are formulas of matplotlib.
        if isinstance(text, Text) and "$" in text.get_text() and not text.get_text().startswith("$\\mathdefault{"):
            text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return write_whole(path, buffer.getvalue())
