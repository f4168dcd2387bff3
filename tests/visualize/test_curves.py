"""Curves join the epochs that have a value, panels stand for what is there, and what is not finite is told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.curves import draw_curves
from hmgdm_monai.visualize.save import save_figure


def full_history(epochs: int) -> list[dict[str, float]]:
    history = []
    for epoch in range(1, epochs + 1):
        record = {"epoch": epoch, "loss": 1 / epoch, "val_loss": 1.2 / epoch, "lr": 1e-4, "seconds": 3.0}
        record |= {"collapse": 0.5 / epoch, "effective_rank": 10.0 + epoch}
        if epoch % 2 == 0:
            record["probe_balanced_accuracy"] = 0.4 + epoch / 100
        history.append(record)
    return history


def panel(figure: Figure, title: str) -> Axes:
    (axes,) = [axes for axes in figure.axes if axes.get_title() == title]
    return axes


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return [tuple(point) for point in line.get_xydata()]


def test_each_quantity_stands_in_its_panel() -> None:
    figure = draw_curves(full_history(6), title="Stage 2", probe_chance=1 / 3, note="synthetic demo cohort")
    loss = panel(figure, "Loss")
    assert points(loss, "training") == [(e, 1 / e) for e in range(1, 7)]
    assert points(loss, "validation") == [(e, 1.2 / e) for e in range(1, 7)]
    probe = panel(figure, "Balanced accuracy of the probe")
    assert points(probe, "linear probe") == [(e, 0.4 + e / 100) for e in (2, 4, 6)]
    assert set(probe.lines[1].get_ydata()) == {1 / 3}
    collapse = panel(figure, "Collapse of the embedding")
    assert points(collapse, "collapse") == [(e, 0.5 / e) for e in range(1, 7)]
    assert collapse.get_ylim()[0] <= 0 and collapse.get_ylim()[1] >= 1
    (rank,) = [a for a in figure.axes if a.bbox.bounds == collapse.bbox.bounds and a is not collapse]
    assert points(rank, "effective rank") == [(e, 10.0 + e) for e in range(1, 7)]
    assert points(panel(figure, "Learning rate"), "learning rate")[0] == (1, 1e-4)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1  # epochs line up across panels
    assert figure.get_suptitle() == "Stage 2"
    assert figure.get_supxlabel() == "synthetic demo cohort"


@pytest.mark.parametrize("left_out", [{"loss", "val_loss"}, {"probe_balanced_accuracy"}, {"lr"}, {"collapse"}])
def test_missing_keys_leave_out_their_panel_alone(left_out: set[str]) -> None:
    history = full_history(4)
    fewer = [{k: v for k, v in record.items() if k not in left_out} for record in history]
    assert len(draw_curves(fewer).axes) == len(draw_curves(history).axes) - 1
    assert draw_curves(fewer).get_supxlabel() == ""


def test_one_of_two_keys_is_enough() -> None:
    figure = draw_curves([{"loss": 2.0}, {"loss": 1.0}])
    assert points(panel(figure, "Loss"), "training") == [(1, 2.0), (2, 1.0)]  # epochs counted where not given
    score_only = draw_curves([{"epoch": 2, "collapse_rank": 0.25}])
    assert points(panel(score_only, "Collapse of the embedding"), "collapse of the rank") == [(2, 0.25)]
    rank_only = draw_curves([{"epoch": 4, "effective_rank": 7.0}])
    assert points(panel(rank_only, "Collapse of the embedding"), "effective rank") == [(4, 7.0)]


def test_a_single_epoch_is_a_visible_point(tmp_path: Path) -> None:
    figure = draw_curves([{"epoch": 5, "loss": 1.0}])
    axes = panel(figure, "Loss")
    assert axes.lines[0].get_marker() == "o"
    path = save_figure(figure, tmp_path / "one.png")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    x, y = axes.transData.transform((5, 1.0)) * 150 / figure.dpi
    assert np.abs(pixels[int(pixels.shape[0] - y), int(x)] - (31, 119, 180)).max() < 20
    assert [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]] == [5]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_break_the_curve_and_are_told(bad: float, tmp_path: Path) -> None:
    history = [{"epoch": e, "loss": bad if e in (3, 4) else 1 / e} for e in range(1, 7)]
    figure = draw_curves(history)
    axes = panel(figure, "Loss")
    y = np.array(points(axes, "training"))[:, 1]
    assert np.isnan(y).tolist() == [False, False, True, True, False, False]
    assert [text.get_text() for text in axes.texts] == ["training not finite at epoch 3, 4"]
    assert save_figure(figure, tmp_path / "curves.png").stat().st_size > 0


def test_a_run_that_never_was_finite_is_drawn_and_told(tmp_path: Path) -> None:
    figure = draw_curves([{"epoch": e, "loss": math.nan, "lr": math.nan} for e in range(1, 10)])
    (text,) = panel(figure, "Loss").texts
    assert text.get_text() == "training not finite at epoch 1, 2, 3, 4, 5, 6 and 3 more"
    save_figure(figure, tmp_path / "curves.png")


def test_losses_of_many_magnitudes_stand_on_a_logarithmic_axis() -> None:
    assert panel(draw_curves([{"loss": 100.0}, {"loss": 1.0}]), "Loss").get_yscale() == "log"
    assert panel(draw_curves([{"loss": 2.0}, {"loss": 1.0}]), "Loss").get_yscale() == "linear"
    assert panel(draw_curves([{"loss": 100.0}, {"loss": -1.0}]), "Loss").get_yscale() == "linear"


def test_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="no epoch"):
        draw_curves([])
    with pytest.raises(InputError, match=r"seconds.*none of loss, val_loss"):
        draw_curves([{"epoch": 1, "seconds": 3.0}])


def test_attention_has_a_panel_on_its_whole_scale() -> None:
    history = [{"epoch": e, "loss": 1.0, "attention_entropy": 1 - e / 10, "attention_gini": e / 10} for e in (1, 2, 3)]
    attention = panel(draw_curves(history), "Attention")
    assert points(attention, "entropy") == [(e, 1 - e / 10) for e in (1, 2, 3)]
    assert points(attention, "Gini coefficient") == [(e, e / 10) for e in (1, 2, 3)]
    assert attention.get_ylim()[0] <= 0 and attention.get_ylim()[1] >= 1
