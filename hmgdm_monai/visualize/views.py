"""Tiles, their regions, and the two views of each that training sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hmgdm_monai.transforms.paired_views import View

_NAMED = 10  # regions with a name in the legend; beyond, as with superpixels, they are numbers
_NO_REGION = 255


def draw_views(
    images: Tensor, regions: Tensor, views: tuple[View, View], names: Sequence[str], note: str | None = None
) -> Figure:
    """Draw a row for each tile: tile, regions, and for each view image and regions.

    Args:
        images: (B, 3, S, S) uint8.
        regions: (B, 1, S, S) uint8.
        views: two, with images (B, 3, s, s) in [0, 1] and regions (B, 1, s, s) uint8.
        names: of the regions, in the order of their numbers.
        note: small print at the foot, e.g. where the data come from.

    Returns:
        A matplotlib figure that belongs to no window.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = [
        ("tile", images.permute(0, 2, 3, 1).numpy()),
        ("regions", region_colours(regions)),
        *(
            part
            for number, view in enumerate(views, 1)
            for part in (
                (f"view {number}", view.image.permute(0, 2, 3, 1).numpy()),
                (f"its regions {number}", region_colours(view.regions)),
            )
        ),
    ]
    figure = Figure(figsize=(1.7 * len(columns), 1.7 * len(images) + 0.8), layout="constrained")
    for row, axes in enumerate(figure.subplots(len(images), len(columns), squeeze=False)):
        for axis, (title, pixels) in zip(axes, columns, strict=True):
            axis.imshow(pixels[row], interpolation="nearest")
            axis.set(xticks=[], yticks=[], title=title if row == 0 else "")
    if len(names) <= _NAMED:
        palette = _palette()[: len(names)] / 255
        patches = [Patch(facecolor=colour, label=name) for colour, name in zip(palette, names, strict=True)]
        figure.legend(handles=patches, loc="outside upper right", ncols=len(names), fontsize=8, frameon=False)
    add_note(figure, note)
    return figure


def region_colours(regions: Tensor) -> np.ndarray:
    """Colours (B, H, W, 3) uint8 of region maps (B, 1, H, W) uint8; white belongs to no region."""
    palette = np.concatenate((_palette(), np.full((1, 3), 255, np.uint8)))
    number = torch.where(regions[:, 0] == _NO_REGION, len(palette) - 1, regions[:, 0].long() % (len(palette) - 1))
    return palette[number.numpy()]


def _palette() -> np.ndarray:
    """(20, 3) uint8: grey for the first, background, then colours apart from each other."""
    from matplotlib import colormaps

    colours = np.rint(np.array(colormaps["tab20"].colors) * 255).astype(np.uint8)
    return np.concatenate(([[225, 225, 225], [244, 190, 200], [72, 61, 139]], colours[:17])).astype(np.uint8)
