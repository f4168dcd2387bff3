"""Small text below a figure, for example a description and the source of the data."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT_PT = 8.0
_CHARACTER_EM = 0.6  # width of a character of the default font relative to the font size: the mean plus a margin


def add_note(figure: Figure, *lines: str | None) -> None:
    """Write small text below a figure, wrapped to its width; a layout engine reserves the space for it.

    Args:
        figure: a figure without its own x label.
        *lines: paragraphs from top to bottom; None and "" are skipped.
    """
    characters = max(20, int(figure.get_figwidth() * 72 / (_FONT_PT * _CHARACTER_EM)))
    wrapped = [piece for line in lines if line for piece in textwrap.wrap(line, characters)]
    if wrapped:
        figure.supxlabel("\n".join(wrapped), fontsize=_FONT_PT, color="0.35")
