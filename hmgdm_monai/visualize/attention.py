"""Draw attention over tiles, for several encoders side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SHARE = 4.0  # attention relative to an even share at the end of the color scale; fixed, so that figures compare
_PANEL_IN = 1.9


def draw_attention(
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    title: str = "Attention",
    labels: Sequence[str] | None = None,
    note: str | None = None,
) -> Figure:
    """Draw one row for each tile: the tile, then the attention of each encoder over its gray levels.

    Args:
        images: T tiles (S, S, 3) uint8.
        maps: name -> T maps (h, w), the attention of each patch or pixel times their number, so that 1 is an even
            share; enlarged to the tile by nearest neighbor.
        title: title of the figure.
        labels: one line next to each tile; None for none.
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no tiles, or the number of maps differs from the number of tiles.
    """
    if not images or any(len(theirs) != len(images) for theirs in maps.values()):
        counts = {name: len(theirs) for name, theirs in maps.items()}
        raise InputError(f"attention: {len(images)} tiles (at least 1) need as many maps of each kind, not {counts}")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    norm = Normalize(0.0, MOST_SHARE)
    size = (_PANEL_IN * (1 + len(maps)) + 0.8, _PANEL_IN * len(images) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(images), 1 + len(maps), squeeze=False)
    for row, image in enumerate(images):
        gray = np.repeat(image.mean(2, keepdims=True) / 255, 3, 2)
        axes[row, 0].imshow(image)
        axes[row, 0].set_ylabel("" if labels is None else labels[row], fontsize=8)
        for column, theirs in enumerate(maps.values(), 1):
            axes[row, column].imshow(gray, extent=(0, 1, 0, 1))
            axes[row, column].imshow(
                theirs[row], cmap="inferno", norm=norm, alpha=0.65, extent=(0, 1, 0, 1), interpolation="nearest"
            )
    for column, name in enumerate(("tile", *maps)):
        axes[0, column].set_title(name, fontsize=9)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    colors = ScalarMappable(norm, "inferno")
    figure.colorbar(colors, ax=axes, label="attention (1 = even share)", extend="max", shrink=0.8, fraction=0.03)
    figure.suptitle(title, fontsize=11)
    add_note(figure, note)
    return figure
