"""Draw the cumulative incidence of competing causes in two risk groups, with numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.competing_risks import cumulative_incidence
from hmgdm_monai.visualize.kaplan_meier import GROUPS
from hmgdm_monai.visualize.note import add_note
from hmgdm_monai.visualize.numbers_at_risk import draw_numbers_at_risk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLES = ("-", "--", ":", "-.")


def draw_cumulative_incidence(
    time: np.ndarray,
    event: np.ndarray,
    high: np.ndarray,
    causes: Mapping[int, str],
    title: str = "Cumulative incidence",
    time_label: str = "time",
    cut: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the cumulative incidence of each cause for patients with high and with low predicted risk.

    Steps are Aalen-Johansen estimates. The first cause is that of interest: solid lines with 95 % intervals; the others
    have broken lines.

    Args:
        time: (N,) times.
        event: (N,) cause of each event as an integer from 1; 0 = censored.
        high: (N,) whether the predicted risk is high.
        causes: name of each cause, the cause of interest first.
        title: title of the figure.
        time_label: label of the time axis, with its unit.
        cut: description of how the groups were made, as small text; None for none.
        note: more small text, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no causes, or all patients are in one group.
    """
    from matplotlib.figure import Figure

    time, event, high = np.asarray(time, float), np.asarray(event).astype(np.int64), np.asarray(high).astype(bool)
    if len(causes) == 0 or len(time) == 0 or high.all() or not high.any():
        raise InputError(
            f"no incidence to draw: {high.sum()} of {len(time)} patients are at high risk, and there are {len(causes)} "
            "causes; both groups need patients"
        )
    end, top = time.max(), 0.0
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes, table = figure.subplots(2, 1, height_ratios=[5, 1], sharex=True)
    for name, side, color in GROUPS:
        chosen = high == side
        for number, (cause, meaning) in enumerate(causes.items()):
            found = cumulative_incidence(time[chosen], event[chosen], cause)
            count = int((event[chosen] == cause).sum())
            at, share = np.r_[0.0, found.times], np.r_[0.0, found.incidence]
            style = _STYLES[number % len(_STYLES)]
            label = f"{name}: {meaning} ({count} of {chosen.sum()})"
            axes.step(at, share, style, where="post", color=color, linewidth=1.8, label=label)
            top = max(top, float(share.max()))
            if number == 0 and count:
                low, high_end = (np.r_[0.0, np.nan_to_num(ends)] for ends in (found.low, found.high))
                axes.fill_between(at, low, high_end, step="post", color=color, alpha=0.13, linewidth=0)
                top = max(top, float(high_end.max()))
    axes.set(xlim=(0, end * 1.02), ylim=(0, min(1.03, 1.35 * top + 0.02)), ylabel="cumulative incidence", title=title)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", fontsize=8.5, framealpha=0.9)
    draw_numbers_at_risk(table, {name: (time[high == side], color) for name, side, color in GROUPS}, end)
    table.set_xlabel(time_label)
    add_note(figure, cut, note)
    return figure
