"""Layouts and tiles of the demo slides."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hmgdm_monai.data.demo.layout import GRID_UM, Ring, draw_layout
from hmgdm_monai.data.demo.patient import TISSUES, plan_patient
from hmgdm_monai.data.demo.tiles import MIN_SHARE, MIN_STROMA, MIN_TISSUE, TILE_UM, pick_tiles

SIDE_UM = 768.0


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["benign", "low_grade", "high_grade"])
def case(request):
    plan = plan_patient(0, request.param)
    return plan, draw_layout(plan, SIDE_UM)


def test_drawn_shares_are_the_planned_ones(case):
    plan, layout = case
    drawn = layout.shares()
    # Glands come whole, so their share (and stroma's) is met to within a gland or the room there is.
    near = {"tumor": 0.005, "necrosis": 0.005, "lymphocytes": 0.005, "gland": 0.08, "stroma": 0.08}
    for tissue in TISSUES:
        assert drawn[tissue] == pytest.approx(plan.shares[tissue], abs=near[tissue]), tissue


def test_glands_do_not_touch(case):
    _, layout = case
    centers = (np.arange(layout.classes.shape[0]) + 0.5) * GRID_UM
    owners = sum((gland.depth_um(centers[None, :], centers[:, None]) > 0).astype(int) for gland in layout.glands)
    assert np.max(owners) <= 1


def test_tiles_are_dominated_by_their_label_and_do_not_overlap(case):
    _, layout = case
    side = round(TILE_UM / GRID_UM)
    used = np.zeros_like(layout.classes, dtype=int)
    places = pick_tiles(layout)
    assert places
    for place in places:
        row, column = round(place.y_um / GRID_UM), round(place.x_um / GRID_UM)
        window = np.s_[row : row + side, column : column + side]
        classes = layout.classes[window]
        assert classes.shape == (side, side)
        assert (classes >= 0).mean() >= MIN_TISSUE
        share = (classes[classes >= 0] == TISSUES.index(place.label)).mean()
        assert share >= (MIN_STROMA if place.label == "stroma" else MIN_SHARE)
        used[window] += 1
    assert used.max() == 1


def test_walk_stays_on_the_outline_at_even_steps():
    circle = Ring(10.0, -5.0, 40.0, 1.0, 0.3, np.zeros(3), np.zeros(3))
    x, y, normal = circle.walk(inset_um=4.0, step_um=5.0, start=1.0)
    assert np.hypot(x - 10.0, y + 5.0) == pytest.approx(36.0)
    assert np.cos(normal - np.arctan2(y + 5.0, x - 10.0)) == pytest.approx(1.0, abs=1e-6)
    steps = np.hypot(np.diff(x), np.diff(y))
    assert steps == pytest.approx(2.0 * math.pi * 36.0 / len(x), rel=0.02)
    assert circle.depth_um(np.array([10.0, 50.0, 60.0]), np.full(3, -5.0)) == pytest.approx([40.0, 0.0, -10.0])
