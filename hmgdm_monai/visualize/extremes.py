"""Draw the tiles with the highest and lowest values, each with its most extreme superpixel outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_IN = 1.45
_OUTLINE = "#00eb78"  # a hue that does not occur in stains


@dataclass(frozen=True)
class ExtremePanel:
    """One tile of the figure (S = side in px).

    Attributes:
        image: (S, S, 3) uint8.
        text: line below the tile, for example its value.
        mask: (S, S) bool, pixels of the superpixel to outline; None outlines none.
    """

    image: np.ndarray
    text: str
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class ExtremeRow:
    """One quantity: groups of tiles side by side.

    Attributes:
        label: name of the quantity, at the left of the row.
        groups: as many groups as the figure has headings, each with its tiles, the most extreme first.
    """

    label: str
    groups: Sequence[Sequence[ExtremePanel]]


def draw_extremes(rows: Sequence[ExtremeRow], headings: Sequence[str], title: str, note: str | None = None) -> Figure:
    """Draw one row for each quantity, with a block of tiles for each heading.

    Args:
        rows: the quantities.
        headings: one heading for each group, for example "highest" and "lowest".
        title: title of the figure.
        note: small text below the figure; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no tiles, or a row has another number of groups than there are headings.
    """
    if any(len(row.groups) != len(headings) for row in rows):
        raise InputError(f"extremes: each row needs {len(headings)} groups of tiles, one for each heading")
    widths = [max((len(row.groups[g]) for row in rows), default=0) for g in range(len(headings))]
    if sum(widths) == 0:
        raise InputError("extremes: there are no tiles to draw")
    from matplotlib.figure import Figure

    columns = sum(widths) + len(widths) - 1  # one narrow column between two groups
    ratios = [ratio for width in widths for ratio in (*[1.0] * width, 0.12)][:columns]
    size = (_PANEL_IN * sum(ratios) + 0.6, (_PANEL_IN + 0.22) * len(rows) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False, width_ratios=ratios)
    for axis in axes.ravel():
        axis.set_axis_off()
    for number, row in enumerate(rows):
        start = 0
        for group, panels in enumerate(row.groups):
            for place, panel in enumerate(panels):
                _draw(axes[number, start + place], panel)
            if number == 0 and widths[group]:
                middle = axes[0, start]
                middle.set_title(headings[group], fontsize=9, loc="left")
            start += widths[group] + 1
        axes[number, 0].text(
            -0.08, 0.5, row.label, rotation=90, ha="right", va="center", fontsize=9, transform=axes[number, 0].transAxes
        )
    figure.suptitle(title, fontsize=11)
    add_note(figure, note)
    return figure


def _draw(axis: Axes, panel: ExtremePanel) -> None:
    axis.set_axis_on()
    axis.imshow(panel.image, interpolation="bilinear")
    if panel.mask is not None and panel.mask.any():
        padded = np.pad(panel.mask, 1).astype(float)
        place = np.arange(-1, len(panel.mask) + 1)
        for color, width in (("black", 2.4), (_OUTLINE, 1.3)):
            axis.contour(place, place, padded, levels=[0.5], colors=color, linewidths=width)
    height, width = panel.image.shape[:2]
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axis.set_xlabel(panel.text, fontsize=8, labelpad=2)
