"""Draw a confusion matrix."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME_WIDTH = 16  # number of characters after which a class name is wrapped


def draw_confusion(
    counts: np.ndarray | Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str = "Confusion matrix",
    note: str | None = None,
    unit: str = "tile",
) -> Figure:
    """Draw a confusion matrix. Colors and percentages are shares of the row: the diagonal is the recall of each class.

    Args:
        counts: (K, K), one row for each true class, one column for each prediction.
        classes: K class names.
        title: title of the figure.
        note: small text below the figure, for example the source of the data; None for none.
        unit: what is counted, in the singular.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: counts and class names do not match.
    """
    counts = np.asarray(counts)
    number = len(classes)
    if number == 0 or counts.shape != (number, number):
        raise InputError(f"No confusion matrix to draw: counts are {counts.shape}, and there are {number} classes.")
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    support = counts.sum(1)
    shares = counts / np.maximum(support, 1)[:, None]
    names = ["\n".join(textwrap.wrap(str(name), _NAME_WIDTH, break_on_hyphens=False)) for name in classes]
    side = max(3.4, 0.95 * number)
    figure = Figure(figsize=(side + 2.6, side + 1.5), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row in range(number):
        for column in range(number):
            text = f"{shares[row, column]:.0%}\n{counts[row, column]}" if support[row] else "0"
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=9,
                color="white" if shares[row, column] > 0.55 else "0.15",
                fontweight="bold" if row == column else "normal",
            )
    rows = [f"{name}\n({count} {unit}{'' if count == 1 else 's'})" for name, count in zip(names, support, strict=True)]
    axes.set_yticks(range(number), rows, fontsize=9)
    tilted = number > 3 or max(map(len, names)) > _NAME_WIDTH
    axes.set_xticks(range(number), names, fontsize=9, rotation=35 if tilted else 0, ha="right" if tilted else "center")
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("true", fontsize=10)
    axes.set_xticks(np.arange(number + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(number + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, format=PercentFormatter(1.0))
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
    add_note(figure, note)
    return figure
