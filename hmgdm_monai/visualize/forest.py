"""Draw hazard ratios with their intervals: a forest plot."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.hazard_ratios import HazardRatios
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME_WIDTH = 26  # number of characters after which a name is wrapped


def draw_forest(
    models: Mapping[str, HazardRatios], title: str = "Hazard ratios", text: str | None = None, note: str | None = None
) -> Figure:
    """Draw the hazard ratios of one or several Cox models on a logarithmic axis, one row for each column.

    Args:
        models: hazard ratios of each model by name, e.g. each column alone and all columns together. Rows are the
            columns of all models, in order of appearance.
        title: title of the figure.
        text: what the columns and models are, as small text; None for none.
        note: more small text, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there is no model.
    """
    if not models:
        raise InputError("no hazard ratios to draw: there is no model")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    names = list(dict.fromkeys(name for model in models.values() for name in model.names))
    step = 0.8 / len(models)
    figure = Figure(figsize=(7.4, 1.9 + (0.35 + 0.25 * len(models)) * len(names)), layout="constrained")
    axes, beside = figure.subplots(1, 2, width_ratios=[5, 2.6], sharey=True)
    axes.axvline(1.0, color="0.6", linewidth=1, linestyle="--")
    for number, (label, model) in enumerate(models.items()):
        color, level = f"C{number}", f"{100 * model.confidence:g} %"
        rows = zip(model.names, model.ratio, model.low, model.high, model.p, strict=True)
        for place, (name, ratio, low, high, p) in enumerate(rows):
            row = len(names) - 1 - names.index(name) + step * ((len(models) - 1) / 2 - number)
            axes.plot([low, high], [row, row], color=color, linewidth=1.6, solid_capstyle="butt")
            shown = f"{label} ({model.patients} patients, {model.events} events)" if place == 0 else None
            axes.plot([ratio], [row], "s", color=color, markersize=6, label=shown)
            text_of_row = f"{ratio:.2f} ({low:.2f} to {high:.2f}), p {_shown(p)}"
            beside.text(0.0, row, text_of_row, va="center", fontsize=8.5, color=color)
    axes.set_xscale("log")
    low = min(min(model.low.min() for model in models.values()), 0.8) / 1.1
    high = max(max(model.high.max() for model in models.values()), 1.25) * 1.1
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    wrapped = ["\n".join(textwrap.wrap(name, _NAME_WIDTH)) for name in reversed(names)]
    axes.set(xlim=(low, high), ylim=(-0.6, len(names) - 0.4))
    axes.set_yticks(range(len(names)), wrapped, fontsize=9)
    axes.set_xlabel("hazard ratio (above 1: earlier death)", fontsize=9)
    axes.grid(alpha=0.25, axis="x")
    beside.set(xlim=(0, 1))
    beside.set_title(f"ratio ({level} interval)", fontsize=9, loc="left")
    beside.axis("off")
    figure.suptitle(title, fontsize=11)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8.5, frameon=False, borderaxespad=0.2)
    add_note(figure, text, note)
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Return a few round ratios between two ends, 1 among them."""
    steps = (
        [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2],
        [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4],
        [0.1, 0.2, 0.5, 1, 2, 5, 10],
    )
    if low >= steps[0][0] and high <= steps[0][-1]:
        ticks = steps[0]
    elif low >= steps[1][0] / 1.2 and high <= steps[1][-1] * 1.2:
        ticks = steps[1]
    else:
        ticks = steps[2]
        if low < ticks[0] or high > ticks[-1]:
            decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
            ticks = (10.0 ** decades[:: max(1, len(decades) // 6)]).tolist()
    return [tick for tick in sorted({*ticks, 1.0}) if low <= tick <= high]


def _shown(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
