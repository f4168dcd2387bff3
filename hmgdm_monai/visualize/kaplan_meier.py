"""Draw Kaplan-Meier curves of two risk groups, with numbers at risk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note
from hmgdm_monai.visualize.numbers_at_risk import draw_numbers_at_risk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Risk groups: name, whether the risk is high, color.
GROUPS = (("high risk", True, "#c0392b"), ("low risk", False, "#2471a3"))


def log_rank_p(time: np.ndarray, event: np.ndarray, high: np.ndarray) -> float | None:
    """p-value of the log-rank test between two groups; None if a group is empty or nobody died.

    Args:
        time: (N,) times.
        event: (N,) 1 = died.
        high: (N,) bool, whether a patient is in the first group.
    """
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    event, high = np.asarray(event).astype(bool), np.asarray(high).astype(bool)
    if high.all() or not high.any() or not event.any():
        return None
    return float(compare_survival(Surv.from_arrays(event, np.asarray(time, float)), high)[1])


def draw_kaplan_meier(
    time: np.ndarray,
    event: np.ndarray,
    high: np.ndarray,
    title: str = "Overall survival",
    time_label: str = "time",
    cut: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the survival of patients with high and with low predicted risk.

    Steps are Kaplan-Meier estimates, bands their 95 % intervals (log-log), and ticks censored patients; the table below
    has the numbers at risk. The log-rank p tests the difference between the groups.

    Args:
        time: (N,) times.
        event: (N,) 1 = died.
        high: (N,) whether the predicted risk is high.
        title: title of the figure.
        time_label: label of the time axis, with its unit.
        cut: description of how the groups were made, as small text; None for none.
        note: more small text, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there are no patients, or all of them are in one group.
    """
    from matplotlib.figure import Figure

    time, event, high = np.asarray(time, float), np.asarray(event).astype(bool), np.asarray(high).astype(bool)
    if len(time) == 0 or high.all() or not high.any():
        raise InputError(
            f"no curves to draw: {high.sum()} of {len(time)} patients are at high risk; both groups need some"
        )
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes, table = figure.subplots(2, 1, height_ratios=[5, 1], sharex=True)
    for name, side, color in GROUPS:
        _draw_group(axes, time[high == side], event[high == side], name, color)
    end = time.max()
    axes.set(xlim=(0, end * 1.02), ylim=(0, 1.03), ylabel="share alive", title=title)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", fontsize=9, framealpha=0.9)
    p = log_rank_p(time, event, high)
    if p is not None:
        axes.text(0.03, 0.05, f"log-rank p {_shown(p)}", transform=axes.transAxes, fontsize=10)
    draw_numbers_at_risk(table, {name: (time[high == side], color) for name, side, color in GROUPS}, end)
    table.set_xlabel(time_label)
    add_note(figure, cut, note)
    return figure


def _draw_group(axes: Axes, time: np.ndarray, event: np.ndarray, name: str, color: str) -> None:
    from sksurv.nonparametric import kaplan_meier_estimator

    label = f"{name} (n = {len(time)}, {event.sum()} died)"
    if event.any():
        at, alive, (low, high) = kaplan_meier_estimator(event, time, conf_type="log-log")
        band_at, low, high = (np.r_[first, values] for first, values in ((0.0, at), (1.0, low), (1.0, high)))
        # The interval is not defined after the last patient.
        axes.fill_between(band_at, low, high, step="post", color=color, alpha=0.13, linewidth=0)
    else:
        at, alive = np.array([time.max()]), np.array([1.0])
    at, alive = np.r_[0.0, at], np.r_[1.0, alive]
    axes.step(at, alive, where="post", color=color, label=label, linewidth=1.8)
    censored = np.sort(time[~event])
    axes.plot(censored, alive[np.searchsorted(at, censored, side="right") - 1], "|", color=color, markersize=7)


def _shown(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
