"""Draw predicted against true numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_predicted_numbers(
    value: np.ndarray,
    prediction: np.ndarray,
    fold: np.ndarray,
    title: str = "Predicted numbers",
    label: str = "value",
    note: str | None = None,
) -> Figure:
    """Draw one point per patient, true number to the right and predicted number up, colored by fold.

    The dashed line is where both are equal.

    Args:
        value: (N,) true numbers.
        prediction: (N,) predicted numbers, each by a model that has not seen the patient.
        fold: (N,) fold of each patient.
        title: title of the figure.
        label: name of the number, with its unit.
        note: small text below the figure; None for none.

    Returns:
        A matplotlib figure, not attached to a window.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    axes = figure.subplots()
    numbers = np.unique(fold)
    for number in numbers:
        here = fold == number
        axes.plot(value[here], prediction[here], "o", ms=4, alpha=0.75, label=f"fold {number}")
    low, high = min(value.min(), prediction.min()), max(value.max(), prediction.max())
    margin = 0.04 * ((high - low) or 1.0)
    edge = (low - margin, high + margin)
    axes.plot(edge, edge, "--", color="0.5", lw=1)
    axes.set_xlim(edge)
    axes.set_ylim(edge)
    axes.set_aspect("equal")
    axes.set_xlabel(f"true {label}", fontsize=10)
    axes.set_ylabel(f"predicted {label}", fontsize=10)
    if len(numbers) > 1:
        axes.legend(fontsize=8, frameon=False, ncols=2 if len(numbers) > 5 else 1)
    figure.suptitle(title, fontsize=11)
    add_note(figure, note)
    return figure
