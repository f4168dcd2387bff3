"""Draw values over tissue: tiles over a slide's thumbnail, or superpixels over a tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOR_MAP = "viridis"
_OPACITY = 0.6
_PANEL_IN = 5.0
_CELLS = 8  # number of cells across a tile that is not on our grid
_MANY = 500  # number of values above which the extremes are clipped to the ends of the color bar


@dataclass(frozen=True)
class Placed:
    """An array of pixels with its position on the slide.

    Attributes:
        pixels: (H, W) values, NaN for missing values, or (H, W, 3) uint8.
        origin_px: upper left corner, (x, y) in level-0 pixels.
        pixel_px: size of a pixel in level-0 pixels.
    """

    pixels: np.ndarray
    origin_px: tuple[float, float]
    pixel_px: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge in level-0 pixels, as matplotlib's ``extent``."""
        (x, y), (height, width) = self.origin_px, self.pixels.shape[:2]
        return x, x + width * self.pixel_px, y + height * self.pixel_px, y


def tile_grid(coords: np.ndarray, values: np.ndarray, side_px: float, step_px: float) -> Placed:
    """Convert values of tiles (M,) to pixels; on our own grid, one pixel per tile, around its center.

    Tiles at other positions, chosen by another program, are painted on cells of an eighth of their side. Where tiles
    overlap, a cell gets their mean.

    Args:
        coords: (M, 2) upper left corners, level-0 pixels.
        values: (M,).
        side_px: side of a tile, level-0 pixels.
        step_px: distance of the tiles of the grid, which starts at (0, 0), in level-0 pixels; below ``side_px`` if
            tiles overlap.
    """
    coords, values = np.asarray(coords, float), np.asarray(values, float)
    places = np.rint(coords / step_px).astype(int)
    # Corners are rounded to whole pixels.
    on_grid = np.abs(coords - places * step_px).max() <= 1 and places.min() >= 0
    if not on_grid or len(np.unique(places, axis=0)) < len(places):
        return _painted_tiles(coords, values, side_px)
    columns, rows = places.T
    grid = np.full((rows.max() + 1, columns.max() + 1), np.nan)
    grid[rows, columns] = values
    return Placed(grid, ((side_px - step_px) / 2,) * 2, step_px)


def _painted_tiles(coords: np.ndarray, values: np.ndarray, side_px: float) -> Placed:
    """Paint tiles (M, 2) at any position on cells of ``side_px / _CELLS``, each the mean of the tiles that cover it."""
    origin, cell = coords.min(0), side_px / _CELLS
    columns, rows = np.rint((coords - origin) / cell).astype(int).T
    sums, counts = (np.zeros((rows.max() + _CELLS, columns.max() + _CELLS)) for _ in range(2))
    for down in range(_CELLS):
        for across in range(_CELLS):
            np.add.at(sums, (rows + down, columns + across), values)
            np.add.at(counts, (rows + down, columns + across), 1)
    grid = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return Placed(grid, (float(origin[0]), float(origin[1])), cell)


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Range of the colors: all finite values, or for many values the 1st to 99th percentile, against outliers."""
    finite = np.asarray(values)[np.isfinite(values)]
    if len(finite) == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1, 99) if len(finite) >= _MANY else (0, 100))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def colors_of(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """RGB colors (M, 3) uint8 of values (M,), as in the color bar of a figure with range ``span``.

    Args:
        values: (M,); NaN gets the lowest color.
        span: values at both ends of the color scale.
    """
    from matplotlib import colormaps

    share = np.clip((np.asarray(values, float) - span[0]) / (span[1] - span[0]), 0, 1)
    return np.rint(colormaps[COLOR_MAP](np.nan_to_num(share))[:, :3] * 255).astype(np.uint8)


def draw_heatmap(
    tissue: Placed,
    values: Placed,
    quantity: str,
    mpp: float | None,
    title: str,
    span: tuple[float, float] | None = None,
    note: str | None = None,
) -> Figure:
    """Draw tissue, and next to it the same tissue under its values, with color bar and scale bar.

    Args:
        tissue: thumbnail or tile.
        values: values on the same slide, of any pixel size.
        quantity: name of the values, with unit, for the color bar.
        mpp: microns per level-0 pixel; None draws no scale bar.
        title: title of the figure.
        span: values at the ends of the color scale; None uses :func:`value_range`.
        note: small text below the figure; None for none.

    Returns:
        A matplotlib figure, not attached to a window.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    left, right, bottom, top = tissue.extent
    aspect = min(max((bottom - top) / (right - left), 0.3), 2.0)
    figure = Figure(figsize=(2 * _PANEL_IN + 1.0, _PANEL_IN * aspect + 0.9), layout="constrained")
    plain, painted = figure.subplots(1, 2)
    gray = np.asarray(tissue.pixels, float) @ [0.299, 0.587, 0.114]
    plain.imshow(tissue.pixels, extent=tissue.extent)
    # The tissue under the values is gray: stain colors would change the colors of the scale.
    painted.imshow(gray, extent=tissue.extent, cmap="gray", vmin=0, vmax=255)
    low, high = span or value_range(values.pixels)
    painted.imshow(
        np.ma.masked_invalid(values.pixels),
        extent=values.extent,
        cmap=COLOR_MAP,
        vmin=low,
        vmax=high,
        alpha=_OPACITY,
        interpolation="nearest",
    )
    for axes in (plain, painted):
        axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        if mpp is not None:
            _scale_bar(axes, mpp)
    finite = values.pixels[np.isfinite(values.pixels)]
    below, above = bool((finite < low).any()), bool((finite > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), COLOR_MAP), ax=painted, extend=extend, shrink=0.9)
    bar.set_label(quantity, fontsize=10)
    figure.suptitle(title, fontsize=12)
    add_note(figure, note, None if mpp is not None else "Microns per pixel are unknown: no scale bar.")
    return figure


def bar_length_um(width_um: float) -> float:
    """Length of a scale bar in um: 1, 2 or 5 times a power of ten, at most a quarter of the width.

    Example:
        >>> bar_length_um(1000.0)
        200.0
    """
    most = width_um / 4
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)


def length_text(length_um: float) -> str:
    """Format a length with its unit: "50 µm", "2 mm"."""
    return f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} \u00b5m"


def _scale_bar(axes: Axes, mpp: float) -> None:
    from matplotlib.patches import Rectangle

    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, bottom - top
    length_um = bar_length_um(width * mpp)
    length = length_um / mpp
    x, y, thick = left + 0.04 * width, bottom - 0.04 * height, 0.012 * height
    corner, span = (x - 0.015 * width, y - 0.085 * height), (length + 0.03 * width, 0.105 * height)
    axes.add_patch(Rectangle(corner, *span, color="white", alpha=0.85, linewidth=0, zorder=3))
    axes.add_patch(Rectangle((x, y - thick), length, thick, color="black", linewidth=0, zorder=4))
    axes.text(x + length / 2, y - 2 * thick, length_text(length_um), ha="center", va="bottom", fontsize=9, zorder=4)
