"""Small print at the foot of a figure: what it shows and where its data come from."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT_PT = 8.0
_CHARACTER_EM = 0.6  # width of a character of the default font, in font sizes; the mean and some room


def add_note(figure: Figure, *lines: str | None) -> None:
    """Write lines in small print at the foot of a figure, wrapped to its width; a layout engine makes room for them.

    Args:
        figure: the figure, without a label of its own below.
        *lines: paragraphs from top to bottom; None and "" are passed over.
    """
    characters = max(20, int(figure.get_figwidth() * 72 / (_FONT_PT * _CHARACTER_EM)))
    wrapped = [piece for line in lines if line for piece in textwrap.wrap(line, characters)]
    if wrapped:
        figure.supxlabel("\n".join(wrapped), fontsize=_FONT_PT, color="0.35")
