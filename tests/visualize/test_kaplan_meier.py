"""Kaplan-Meier figures: curves, numbers at risk, log-rank."""

from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.kaplan_meier import draw_kaplan_meier, log_rank_p


@pytest.fixture
def outcomes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    high = np.arange(60) % 2 == 0
    time = rng.exponential(np.where(high, 10.0, 80.0)) + 0.1
    return time, (rng.random(60) < 0.7).astype(int), high


def test_curves_numbers_and_p(outcomes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    time, event, high = outcomes
    figure = draw_kaplan_meier(time, event, high, "T", "months", "cut", "note")
    axes, table = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0].startswith("high risk (n = 30") and labels[1].startswith("low risk (n = 30")
    assert "log-rank p < 0.001" in axes.texts[0].get_text()
    assert table.get_xlabel() == "months"
    for text in table.texts:
        at, row = text.get_position()
        group = high if row == 1 else ~high
        assert int(text.get_text()) == (time[group] >= at).sum()
    # The curve is the product of survival over the death times.
    expected = np.prod([1 - 1 / (time[high] >= t).sum() for t in time[high & (event == 1)]])
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(expected)


def test_log_rank_equals_lifelines(outcomes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    from lifelines.statistics import logrank_test

    time, event, high = outcomes
    theirs = logrank_test(time[high], time[~high], event[high], event[~high]).p_value
    assert log_rank_p(time, event, high) == pytest.approx(theirs)
    assert log_rank_p(time, event, np.ones(60, bool)) is None and log_rank_p(time, event * 0, high) is None


def test_a_group_in_which_nobody_died_is_drawn_flat() -> None:
    figure = draw_kaplan_meier(np.arange(1.0, 7.0), np.array([1, 1, 1, 0, 0, 0]), np.arange(6) < 3)
    assert set(figure.axes[0].lines[2].get_ydata()) == {1.0}
    figure.canvas.draw()


def test_one_group_alone_is_refused() -> None:
    with pytest.raises(InputError, match="4 of 4 patients are at high risk"):
        draw_kaplan_meier(np.ones(4), np.ones(4), np.ones(4, bool))
