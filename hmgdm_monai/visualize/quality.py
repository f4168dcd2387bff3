"""Draw a slide with the tiles that were left out, colored by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT_COLOR = "#000000"
# Distinguishable for the color-blind (Okabe & Ito); further reasons repeat the colors.
REASON_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
FIGURE_INCHES = 7.0


def quality_figure(
    thumbnail: np.ndarray,
    downsample: float,
    side_px: float,
    kept_px: np.ndarray,
    left_out_px: Mapping[str, np.ndarray],
    title: str = "Tiles left out",
    note: str | None = None,
) -> Figure:
    """Draw a slide, an outline around each tile that is used, and a colored square for each tile that was left out.

    Args:
        thumbnail: (h, w, 3) uint8 RGB of the whole slide.
        downsample: level-0 pixels per pixel of the thumbnail.
        side_px: side of a tile in level-0 pixels.
        kept_px: (N, 2) upper left corners (x, y) of the tiles that are used, in level-0 pixels.
        left_out_px: reason -> (M, 2) corners of the tiles that were left out for it. The order of the reasons gives
            their colors; reasons without a tile are not shown.
        title: title of the figure.
        note: small text below the figure; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: the thumbnail is not (h, w, 3) uint8.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    if thumbnail.ndim != 3 or thumbnail.shape[2] != 3 or thumbnail.dtype != np.uint8:
        raise InputError(f"A thumbnail must be uint8 of shape (h, w, 3), not {thumbnail.dtype} {thumbnail.shape}.")
    height, width = thumbnail.shape[:2]
    figure = Figure(figsize=(FIGURE_INCHES, FIGURE_INCHES * height / width + 0.9), layout="constrained")
    axes = figure.subplots()
    axes.imshow(thumbnail, extent=(0, width, height, 0))

    def squares(places: np.ndarray | Sequence[Sequence[float]]) -> list[Rectangle]:
        side = side_px / downsample
        return [Rectangle((x / downsample, y / downsample), side, side) for x, y in np.asarray(places).reshape(-1, 2)]

    axes.add_collection(PatchCollection(squares(kept_px), facecolor="none", edgecolor=KEPT_COLOR, linewidth=0.3))
    legend = [Patch(facecolor="none", edgecolor=KEPT_COLOR, label=f"used ({len(kept_px)})")]
    for number, (reason, places) in enumerate(left_out_px.items()):
        color = REASON_COLORS[number % len(REASON_COLORS)]
        if len(places) == 0:
            continue
        axes.add_collection(
            PatchCollection(squares(places), facecolor=color, edgecolor=color, alpha=0.5, linewidth=0.8)
        )
        legend.append(Patch(facecolor=color, alpha=0.5, label=f"{reason} ({len(places)})"))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.legend(handles=legend, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=4, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    add_note(figure, note)
    return figure
