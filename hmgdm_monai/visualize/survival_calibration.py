"""Draw predicted against observed probability to die until a horizon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.survival_calibration import HorizonCalibration
from hmgdm_monai.visualize.calibration import draw_diagonal, draw_reliability
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_survival_calibration(
    models: Mapping[str, HorizonCalibration],
    title: str = "Calibration of survival",
    unit: str = "",
    note: str | None = None,
) -> Figure:
    """Draw observed over predicted probability for groups of patients by predicted probability.

    Args:
        models: calibration of each model by name, all at one horizon.
        title: title of the figure.
        unit: unit of the horizon, e.g. "months".
        note: small text below the figure, for example the source of the data; None for none.

    Returns:
        A matplotlib figure, not attached to a window.

    Raises:
        InputError: there is no model.
    """
    if not models:
        raise InputError("no calibration to draw: there is no model")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 5.8), layout="constrained")
    axes = figure.subplots()
    draw_diagonal(axes)
    for number, (name, found) in enumerate(models.items()):
        index = "" if np.isnan(found.index) else f" (ICI {found.index:.3f})"
        interval = np.stack((found.low, found.high))
        draw_reliability(axes, found.predicted, found.observed, interval, f"C{number}", f"{name}{index}")
    first = next(iter(models.values()))
    at = f"{first.horizon:g} {unit}".strip()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=title, ylabel=f"observed probability to die until {at}")
    axes.set_xlabel(f"predicted probability to die until {at}")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=9, framealpha=0.9)
    least, most = first.count.min(), first.count.max()
    sizes = f"{least}" if least == most else f"{least} to {most}"
    explanation = (
        f"Groups of {sizes} patients by predicted probability. Observed: 1 - Kaplan-Meier, with 95 % intervals. ICI: "
        "integrated calibration index, the mean distance from the dashed line; 0 is best."
    )
    add_note(figure, explanation, note)
    return figure
