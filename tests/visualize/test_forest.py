"""Forest plots: rows, ratios and intervals."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.hazard_ratios import HazardRatios
from hmgdm_monai.visualize.forest import draw_forest


def ratios(names: tuple[str, ...], values: list[float], factor: float = 2.0) -> HazardRatios:
    ratio = np.array(values)
    return HazardRatios(names, ratio, ratio / factor, ratio * factor, np.full(len(names), 0.0004), 80, 30, 0.95)


def test_rows_are_columns_and_lines_are_intervals() -> None:
    models = {"alone": ratios(("risk", "age"), [2.0, 0.5]), "together": ratios(("risk",), [1.5])}
    figure = draw_forest(models, "T", "text", "note")
    axes, beside = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["age", "risk"]
    lines = [line.get_xydata() for line in axes.lines[1::2]]
    assert [line[:, 0].tolist() for line in lines] == [[1.0, 4.0], [0.25, 1.0], [0.75, 3.0]]
    assert lines[0][0, 1] > lines[2][0, 1] > lines[1][0, 1]  # risk alone, risk together, age
    assert beside.texts[0].get_text() == "2.00 (1.00 to 4.00), p < 0.001"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["alone (80 patients, 30 events)", "together (80 patients, 30 events)"]
    assert axes.get_xscale() == "log" and figure.get_supxlabel() == "text\nnote"


@pytest.mark.parametrize(("value", "factor"), [(1.0, 1.05), (1.2, 2.0), (3.0, 5.0), (40.0, 300.0), (1e-4, 2.0)])
def test_the_axis_has_few_round_ticks_with_one_among_them(value: float, factor: float) -> None:
    axes = draw_forest({"m": ratios(("risk",), [value], factor)}).axes[0]
    ticks = axes.get_xticks().tolist()
    low, high = axes.get_xlim()
    assert 1.0 in ticks and 2 <= len(ticks) <= 9 and low <= min(ticks) and max(ticks) <= high
    assert low < value / factor and value * factor < high


def test_no_model_is_refused() -> None:
    with pytest.raises(InputError, match="no model"):
        draw_forest({})
