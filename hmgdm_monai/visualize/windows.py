"""Draw windows of vertices and edges next to their reconstructions by the entity autoencoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP_PX = 2  # white gap between two windows, in pixels of the windows
_FULL_SCALE = 0.3  # |difference| at the end of the color scale; fixed, so that figures of different epochs compare


def unexplained_variance(windows: Tensor, reconstructions: Tensor) -> float:
    """Share of the variance of windows that their reconstructions do not explain.

    sum (x - x_hat)^2 / sum (x - mean)^2, with the mean of these windows: 0 is a perfect copy, 1 is no better than the
    mean window. This equals 1 - the explained variance ratio of a PCA of the windows.

    Args:
        windows: (N, 3, w, w) float.
        reconstructions: (N, 3, w, w) float.

    Returns:
        The share; NaN if the windows do not vary (none, one, or all equal).
    """
    if len(windows) == 0:
        return math.nan
    x, x_hat = windows.detach().cpu().double(), reconstructions.detach().cpu().double()
    total = (x - x.mean(dim=0)).square().sum().item()
    # Equal windows leave rounding errors of about 1e-32 per pixel, which is not variance.
    return (x - x_hat).square().sum().item() / total if total > 1e-20 * x.numel() else math.nan


def draw_windows(
    windows: Tensor,
    reconstructions: Tensor,
    is_edge: Tensor | None = None,
    title: str = "Entity autoencoder",
    max_each: int = 8,
    note: str | None = None,
) -> Figure:
    """Draw rows of windows, their reconstructions and the difference: vertices on the left, edges on the right.

    The share of unexplained variance in the title is over all given windows, including those that are not drawn.

    Args:
        windows: (N, 3, w, w) float in [0, 1].
        reconstructions: (N, 3, w, w) float; clipped to [0, 1] only for drawing.
        is_edge: (N,) bool, True for windows of edges; None: all are of vertices.
        title: name of the model.
        max_each: maximum number of windows of vertices, and of edges, to draw, evenly spaced over the given ones.
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no windows, the shapes do not match, or ``max_each`` is below 1.
    """
    if windows.ndim != 4 or windows.shape[1] != 3 or windows.shape != reconstructions.shape or len(windows) == 0:
        raise InputError(
            "Windows and reconstructions must both be of shape (N, 3, w, w) with N of at least 1, "
            f"not {tuple(windows.shape)} and {tuple(reconstructions.shape)}."
        )
    is_edge = torch.zeros(len(windows), dtype=torch.bool) if is_edge is None else is_edge.detach().cpu().bool()
    if is_edge.shape != (len(windows),) or max_each < 1:
        raise InputError(
            f"is_edge must be of shape ({len(windows)},) and max_each at least 1, "
            f"not {tuple(is_edge.shape)} and {max_each}."
        )
    from matplotlib.figure import Figure

    windows, reconstructions = windows.detach().cpu().float(), reconstructions.detach().cpu().float()
    blocks = []
    for name, member in (("vertices (superpixels)", ~is_edge), ("edges (midway between two superpixels)", is_edge)):
        index = member.nonzero().flatten()
        if len(index):
            drawn = index[torch.linspace(0, len(index) - 1, min(max_each, len(index))).round().long()]
            blocks.append((name, index, drawn))
    columns = [len(drawn) for _, _, drawn in blocks]
    # Wide enough for the title if only one window is drawn.
    figure = Figure(figsize=(max(6.0, 1.6 + 0.8 * sum(columns)), 4.0), layout="constrained")
    grid = figure.subplots(3, len(blocks), squeeze=False, width_ratios=columns)
    for axes_of_block, (name, index, drawn) in zip(grid.T, blocks, strict=True):
        x, x_hat = windows[drawn], reconstructions[drawn]
        share = unexplained_variance(windows[index], reconstructions[index])
        axes_of_block[0].set_title(
            f"{len(drawn)} of {len(index)} {name}\nunexplained variance {_percent(share)}", fontsize=9
        )
        axes_of_block[0].imshow(_strip(x), interpolation="nearest")
        axes_of_block[1].imshow(_strip(x_hat), interpolation="nearest")
        difference = _strip((x - x_hat).abs().mean(dim=1, keepdim=True), blank=math.nan)
        axes_of_block[2].imshow(difference, cmap="magma", vmin=0, vmax=_FULL_SCALE, interpolation="nearest")
        for axes in axes_of_block:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for axes, label in zip(grid[:, 0], ("original", "reconstruction", "|difference|"), strict=True):
        axes.set_ylabel(label, fontsize=9)
    share = unexplained_variance(windows, reconstructions)
    figure.suptitle(f"{title}: unexplained variance of the windows {_percent(share)}", fontsize=11)
    scale = f"|difference|: mean over red, green and blue (0 to 1); black is 0, brightest {_FULL_SCALE} or more."
    add_note(figure, scale, note)
    return figure


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "undefined"


def _strip(windows: Tensor, blank: float = 1.0) -> np.ndarray:
    """(N, C, w, w) -> (w, N w + gaps, C) side by side, values clipped to [0, 1]."""
    padded = torch.nn.functional.pad(windows.clamp(0, 1), (0, _GAP_PX), value=blank)
    return torch.cat(list(padded), dim=2)[:, :, :-_GAP_PX].permute(1, 2, 0).numpy()
