"""Draw a tile next to the outlines of its nuclei and the regions that the dense pretext task pools over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from hmgdm_monai.data.stores.region_store import NO_REGION
from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[int, int, int]
# Background, other tissue, cell, and further cell types; distinguishable for the color-blind (Okabe & Ito).
COLORS: tuple[Color, ...] = (
    (235, 235, 235),
    (204, 121, 167),
    (0, 60, 140),
    (230, 159, 0),
    (0, 158, 115),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
NO_REGION_COLOR: Color = (0, 0, 0)
OUTLINE_COLOR: Color = (0, 235, 120)  # a hue that does not occur in stains
MOST_IN_LEGEND = 12
_DRAWING_PX = 768  # approximate side of a drawing; tiles are enlarged to it
_LINE_SHARE = 1 / 300  # width of an outline relative to the drawing's side
_BAR_SHARE = 0.3  # approximate length of the scale bar relative to the tile's width
_BAR_UM = (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000)


def colors_of_regions(count: int) -> np.ndarray:
    """Colors of region values, (256, 3) uint8: the fixed ones, or, for more regions, hues at equal steps.

    Args:
        count: number R of regions.
    """
    from matplotlib import colormaps

    table = np.tile(np.array(NO_REGION_COLOR, np.uint8), (256, 1))
    if count <= len(COLORS):
        table[:count] = COLORS[:count]
    else:
        # Golden-ratio steps, so that consecutive numbers, which are usually neighbors, get very different hues.
        steps = (np.arange(count) * 0.618034) % 1
        table[:count] = np.rint(colormaps["hsv"](steps)[:, :3] * 200 + 55)
    return table


def draw_outlines(
    image: np.ndarray | torch.Tensor,
    labels: np.ndarray | torch.Tensor,
    scale: int | None = None,
    color: Color = OUTLINE_COLOR,
) -> np.ndarray:
    """Draw an enlarged tile with a line around each labeled object.

    Args:
        image: (3, H, W) uint8.
        labels: (1, H, W) or (H, W) integer, 0 outside of objects.
        scale: number of drawing pixels per tile pixel, in each direction; None makes the drawing about 768 px wide.
        color: RGB color of the lines.

    Returns:
        (scale H, scale W, 3) uint8.

    Raises:
        InputError: the image is not (3, H, W) uint8, or the labels have another size.
    """
    from PIL import Image
    from scipy.ndimage import binary_dilation
    from skimage.segmentation import find_boundaries

    pixels, labels = _checked(image, labels)
    height, width = labels.shape
    scale = max(1, round(_DRAWING_PX / max(height, width))) if scale is None else scale
    tile = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    canvas = np.array(tile.resize((width * scale, height * scale), Image.Resampling.BICUBIC))
    large = np.repeat(np.repeat(labels, scale, axis=0), scale, axis=1)
    lines = find_boundaries(large, mode="inner")
    if more := round(_LINE_SHARE * max(large.shape)) - 1:
        lines = binary_dilation(lines, iterations=(more + 1) // 2) & (large > 0)
    canvas[lines] = color
    return canvas


def region_figure(
    image: np.ndarray | torch.Tensor,
    regions: np.ndarray | torch.Tensor,
    names: Sequence[str],
    nuclei: np.ndarray | torch.Tensor | None = None,
    mpp: float | None = None,
    title: str = "Cell prior",
    note: str | None = None,
) -> Figure:
    """Draw the tile, the outlines of its nuclei, and its region map side by side.

    Args:
        image: (3, H, W) uint8.
        regions: (1, H, W) or (H, W) uint8, values 0 to R - 1, or 255 for pixels that belong to no region.
        names: names of the R regions.
        nuclei: (1, H, W) or (H, W) integer instances; None outlines the regions instead.
        mpp: microns per pixel, for the scale bar; None draws none.
        title: title of the figure.
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: the shapes do not match, or a region has no name.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    pixels, regions = _checked(image, regions)
    values, counts = np.unique(regions, return_counts=True)
    if unnamed := [int(value) for value in values if value != NO_REGION and not 0 <= value < len(names)]:
        raise InputError(f"Regions {unnamed} have no name; {len(names)} names are given, for 0 to {len(names) - 1}.")
    outlined, middle = (regions + 1, "regions") if nuclei is None else (_checked(image, nuclei)[1], "")
    if nuclei is not None:
        middle = f"{len(np.unique(outlined[outlined > 0]))} nuclei"

    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.subplots(1, 3)
    panels = (
        (pixels.transpose(1, 2, 0), "tile"),
        (draw_outlines(pixels, outlined), middle),
        (colors_of_regions(len(names))[regions], "region map"),
    )
    height, width = regions.shape
    for panel, (drawing, name) in zip(axes, panels, strict=True):
        panel.imshow(drawing, extent=(0, width, height, 0))
        panel.set_title(name, fontsize=10)
        panel.set_axis_off()
    if mpp is not None:
        _scale_bar(axes[0], width, height, mpp)
    table, share = colors_of_regions(len(names)), counts / regions.size
    patches = [
        Patch(
            facecolor=table[value] / 255,
            edgecolor="0.5",
            label=f"{'no region' if value == NO_REGION else names[value]} {100 * part:.0f} %",
        )
        for value, part in zip(values.tolist(), share.tolist(), strict=True)
    ]
    if len(patches) <= MOST_IN_LEGEND:
        axes[2].legend(
            handles=patches,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.01),
            ncols=3,
            fontsize=8,
            columnspacing=1,
            handlelength=1.2,
        )
    else:
        axes[2].set_title(f"region map: {len(patches)} regions", fontsize=10)
    figure.suptitle(title, fontsize=11)
    add_note(figure, note)
    return figure


def _checked(image: np.ndarray | torch.Tensor, labels: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Check and convert to (3, H, W) uint8 and (H, W) integer."""
    pixels, given = (
        array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
        for array in (image, labels)
    )
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"A tile must be uint8 of shape (3, H, W), not {pixels.dtype} {pixels.shape}.")
    if given.ndim == 3 and given.shape[0] == 1:
        given = given[0]
    if given.shape != pixels.shape[1:] or given.dtype.kind not in "iu":
        raise InputError(
            f"The tile is {pixels.shape[1]} x {pixels.shape[2]} px, its label map {given.dtype} {given.shape}."
        )
    return pixels, given.astype(np.int64)


def _scale_bar(axes: Axes, width: int, height: int, mpp: float) -> None:
    """Draw a bar with a round number of microns in the lower left corner."""
    wanted = _BAR_SHARE * width * mpp
    length_um = max((um for um in _BAR_UM if um <= wanted), default=_BAR_UM[0])
    left, bottom = 0.04 * width, 0.94 * height
    for line_width, color in ((5, "white"), (2.5, "black")):
        axes.plot([left, left + length_um / mpp], [bottom, bottom], color=color, lw=line_width, solid_capstyle="butt")
    axes.text(
        left,
        bottom - 0.025 * height,
        f"{length_um} um",
        fontsize=8,
        va="bottom",
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
    )
