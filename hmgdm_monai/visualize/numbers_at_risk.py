"""Draw the table of numbers at risk below curves over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 7  # number of columns of the table


def draw_numbers_at_risk(axes: Axes, groups: Mapping[str, tuple[np.ndarray, str]], end: float) -> None:
    """Write the numbers at risk (under observation just before a time) below the ticks of the time axis.

    Args:
        axes: axes of the table, which share their time axis with the curves.
        groups: times (N,) and color of each group by name, from top to bottom.
        end: last time of the curves.
    """
    from matplotlib.ticker import MaxNLocator

    ticks = [
        tick for tick in MaxNLocator(_COLUMNS, steps=[1, 2, 2.5, 3, 5, 6, 10]).tick_values(0, end) if 0 <= tick <= end
    ]
    axes.set_xticks(ticks)
    rows = range(len(groups) - 1, -1, -1)
    for row, (time, color) in zip(rows, groups.values(), strict=True):
        for tick in ticks:
            count = int((time >= tick).sum())
            axes.text(tick, row, str(count), ha="center", va="center", color=color, fontsize=9)
    axes.set(ylim=(-0.6, len(groups) - 0.4), yticks=list(rows), yticklabels=list(groups))
    axes.set_title("number at risk", fontsize=9, loc="left")
    axes.tick_params(axis="y", length=0, pad=14)
    for place in ("top", "right", "left"):
        axes.spines[place].set_visible(False)
