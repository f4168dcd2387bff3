"""Draw tiles, their regions, and their two views in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from hmgdm_monai.visualize.note import add_note
from hmgdm_monai.visualize.regions import MOST_IN_LEGEND, colors_of_regions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmgdm_monai.transforms.paired_views import View


def draw_views(
    images: Tensor, regions: Tensor, views: tuple[View, View], names: Sequence[str], note: str | None = None
) -> Figure:
    """Draw one row for each tile: tile, regions, and for each view image and regions.

    Args:
        images: (B, 3, S, S) uint8.
        regions: (B, 1, S, S) uint8.
        views: two views, with images (B, 3, s, s) in [0, 1] and regions (B, 1, s, s) uint8.
        names: names of the regions, in the order of their numbers.
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    table = colors_of_regions(len(names))
    columns = [
        ("tile", images.permute(0, 2, 3, 1).numpy()),
        ("regions", table[regions[:, 0].numpy()]),
        *(
            part
            for number, view in enumerate(views, 1)
            for part in (
                (f"view {number}", view.image.permute(0, 2, 3, 1).numpy()),
                (f"regions of view {number}", table[view.regions[:, 0].numpy()]),
            )
        ),
    ]
    figure = Figure(figsize=(1.7 * len(columns), 1.7 * len(images) + 0.8), layout="constrained")
    for row, axes in enumerate(figure.subplots(len(images), len(columns), squeeze=False)):
        for axis, (title, pixels) in zip(axes, columns, strict=True):
            axis.imshow(pixels[row], interpolation="nearest")
            axis.set(xticks=[], yticks=[], title=title if row == 0 else "")
    if len(names) <= MOST_IN_LEGEND:
        patches = [Patch(facecolor=table[i] / 255, label=name) for i, name in enumerate(names)]
        figure.legend(handles=patches, loc="outside upper right", ncols=len(names), fontsize=8, frameon=False)
    add_note(figure, note)
    return figure
