"""Draw reliability curves: how often a prediction of a given confidence is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.calibration import ReliabilityCurve
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EXPLANATION = (
    "Bins of confidence, the probability of the predicted class. Bars: 95 % intervals (Wilson). On the dashed line "
    "confidence equals accuracy; below it the model is too confident."
)


def draw_calibration(
    curves: Mapping[str, ReliabilityCurve], title: str = "Calibration", note: str | None = None
) -> Figure:
    """Draw accuracy over confidence for one or several models, and below it how many patients each bin has.

    Args:
        curves: reliability curve of each model, by name, e.g. before and after temperature scaling.
        title: title of the figure.
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there is no curve.
    """
    if not curves:
        raise InputError("no calibration to draw: there is no curve")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5.4, 6.0), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    draw_diagonal(axes)
    first = min(float(curve.confidence.min()) for curve in curves.values())
    for number, (name, curve) in enumerate(curves.items()):
        color, gap = f"C{number}", float(np.average(np.abs(curve.confidence - curve.accuracy), weights=curve.count))
        label = f"{name} (ECE {gap:.3f})"
        draw_reliability(axes, curve.confidence, curve.accuracy, _wilson(curve), color, label)
        below.vlines(curve.confidence, 0, curve.count, color=color, linewidth=4, alpha=0.75)
    left = max(0.0, np.floor(10 * first) / 10 - 0.02)
    axes.set(xlim=(left, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy", title=title)
    below.set(xlabel="confidence", ylabel="patients", ylim=(0, None))
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    for one in (axes, below):
        one.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=9, framealpha=0.9)
    add_note(figure, _EXPLANATION, note)
    return figure


def draw_diagonal(axes: Axes) -> None:
    """Draw the line on which predicted and observed rates are equal."""
    axes.plot([0, 1], [0, 1], "--", color="0.6", linewidth=1)


def draw_reliability(
    axes: Axes, predicted: np.ndarray, observed: np.ndarray, interval: np.ndarray, color: str, label: str
) -> None:
    """Draw observed over predicted rates of one model, with intervals.

    Args:
        axes: axes to draw on.
        predicted: (B,) predicted rates.
        observed: (B,) observed rates.
        interval: (2, B) lower and upper ends of the observed rates; nan draws none.
        color: color of the model.
        label: label of the model in the legend.
    """
    bars = np.nan_to_num(np.abs(interval - observed))
    style: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1.6, "elinewidth": 0.9, "capsize": 2}
    axes.errorbar(predicted, observed, bars, color=color, label=label, **style)


def _wilson(curve: ReliabilityCurve) -> np.ndarray:
    """Return the 95 % intervals of the accuracies, (2, B)."""
    from scipy.stats import binomtest

    pairs = zip(np.rint(curve.accuracy * curve.count).astype(int), curve.count, strict=True)
    intervals = [binomtest(int(right), int(count)).proportion_ci(method="wilson") for right, count in pairs]
    return np.array([[one.low, one.high] for one in intervals]).T
