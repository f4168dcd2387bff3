"""Draw the denoising of hidden superpixels, step by step, next to their tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from monai.config import NdarrayOrTensor
from monai.utils import convert_to_numpy

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.region_adjacency import check_label_map
from hmgdm_monai.transforms.superpixels import image_as_hwc
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRAY = np.uint8(150)
_PANEL_IN = 2.2
_TEXT_IN = 1.25  # height of titles and note
_OUTLINE = "black"
_GAP = 0.08  # gap between two panels, relative to their width
_ARROW_AT = 1 + _GAP / 2


def hidden_pixels(label_map: NdarrayOrTensor, vertex_visible: NdarrayOrTensor) -> np.ndarray:
    """Find the pixels of the superpixels that are hidden from the encoder.

    Args:
        label_map: (1, H, W) integer, labels 0 to V - 1, all present; -1, no superpixel, is not hidden.
        vertex_visible: (V,) bool, from :func:`~hmgdm_monai.diffusion.split.split_visible`.

    Returns:
        (1, H, W) bool, True for hidden pixels.

    Raises:
        InputError: ``vertex_visible`` is not bool, or its length differs from the number of labels.
    """
    labels, visible = check_label_map(convert_to_numpy(label_map), background=True), convert_to_numpy(vertex_visible)
    count = int(labels.max()) + 1
    if visible.shape != (count,) or visible.dtype != bool:
        raise InputError(
            f"{count} superpixels need vertex_visible bool ({count},), not {visible.dtype} {visible.shape}."
        )
    return (~visible[labels] & (labels >= 0))[None]


def draw_denoising(
    image: NdarrayOrTensor,
    painted_steps: Sequence[np.ndarray],
    step_labels: Sequence[str],
    hidden_mask: NdarrayOrTensor,
    painted_truth: np.ndarray,
    title: str | None = None,
    note: str | None = None,
    entities: str = "superpixels",
) -> Figure:
    """Draw in one row: the tile, its visible part, the steps from noise to the result, and the painted truth.

    Steps and truth are shown only within the hidden superpixels (outlined), inside the tile itself, so that one can see
    directly whether the restored part fits its neighborhood.

    Args:
        image: (3, H, W) uint8, the tile.
        painted_steps: (H, W, 3) uint8 each, the noisiest first; see
            :func:`~hmgdm_monai.visualize.paint.paint_superpixels`.
        step_labels: a title for each step, for example "t = 999".
        hidden_mask: (1, H, W) bool, pixels of hidden superpixels; see :func:`hidden_pixels`.
        painted_truth: (H, W, 3) uint8, painted from the true latents: the best possible result.
        title: title of the figure; None describes what is restored.
        note: small text below the figure, for example the source of the data; None for none.
        entities: kind of the hidden entities, in the plural.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no steps, the number of labels differs, or the shapes do not match.
    """
    tile, mask = image_as_hwc(image), convert_to_numpy(hidden_mask)
    if len(painted_steps) == 0 or len(step_labels) != len(painted_steps):
        raise InputError(
            f"Need at least one painted step and a label for each, not {len(painted_steps)} and {len(step_labels)}."
        )
    if mask.shape != (1, *tile.shape[:2]) or mask.dtype != bool:
        raise InputError(f"The hidden mask must be bool {(1, *tile.shape[:2])}, not {mask.dtype} {mask.shape}.")
    for painted in (*painted_steps, painted_truth):
        if painted.shape != tile.shape or painted.dtype != np.uint8:
            raise InputError(f"Painted tiles must be uint8 {tile.shape}, not {painted.dtype} {painted.shape}.")
    from matplotlib.figure import Figure

    hidden = mask[0]

    def within_hidden(painted: np.ndarray) -> np.ndarray:
        return np.where(hidden[..., None], painted, tile)

    last = len(painted_steps) - 1
    panels = [
        (tile, "tile"),
        (within_hidden(np.full_like(tile, _GRAY)), f"given to the model\n({100 * hidden.mean():.0f} % hidden)"),
        *((within_hidden(p), label) for p, label in zip(painted_steps, step_labels, strict=True)),
        (within_hidden(painted_truth), f"true latents,\nnearest {entities}"),
    ]
    height_in = _PANEL_IN * tile.shape[0] / tile.shape[1] + _TEXT_IN
    figure = Figure(figsize=(_PANEL_IN * (1 + _GAP) * len(panels), height_in))
    figure.set_layout_engine("constrained", wspace=_GAP, w_pad=0.02)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for number, (axes, (pixels, label)) in enumerate(zip(row, panels, strict=True)):
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(label, fontsize=10)
        axes.set(xticks=[], yticks=[])
        if number > 0:
            _outline(axes, hidden)
        if 1 < number <= last + 1:  # from this step to the next
            axes.text(_ARROW_AT, 0.5, "\u2192", transform=axes.transAxes, ha="center", va="center").set_in_layout(False)
    figure.suptitle(title or f"Restoring hidden {entities} from noise", fontsize=12)
    one = entities.removesuffix("s")
    add_note(
        figure,
        f"The model gets the tile without the gray {entities}. In their place it starts from noise and restores their "
        f"latents step by step, from left to right. Each hidden {one} is painted with the real {one} of the training "
        f"tiles that has the nearest latents. Last panel: the same for the true latents, the best possible result. "
        f"Streaks: where a {one} extends beyond its window, the border of the window is repeated.",
        note,
    )
    return figure


def _outline(axes: Axes, mask: np.ndarray) -> None:
    """Draw thin lines between the pixels inside and outside of a mask."""
    from matplotlib.collections import LineCollection

    down_rows, down_columns = np.nonzero(mask[1:] != mask[:-1])  # line below pixel (row, column)
    side_rows, side_columns = np.nonzero(mask[:, 1:] != mask[:, :-1])  # line to its right
    # imshow places the center of pixel (row, column) at (column, row).
    level = np.stack([down_columns - 0.5, down_rows + 0.5, down_columns + 0.5, down_rows + 0.5], axis=1)
    upright = np.stack([side_columns + 0.5, side_rows - 0.5, side_columns + 0.5, side_rows + 0.5], axis=1)
    segments = np.concatenate([level, upright]).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(segments), colors=_OUTLINE, linewidths=0.7), autolim=False)
