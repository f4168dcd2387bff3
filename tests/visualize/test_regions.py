"""The figure of the cell prior shows outlines where objects end, and names what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.regions import (
    COLORS,
    NO_REGION_COLOR,
    colors_of_regions,
    draw_outlines,
    region_figure,
)

TILE = np.full((3, 40, 60), 200, np.uint8)
NUCLEI = np.zeros((1, 40, 60), np.int32)
NUCLEI[0, 10:30, 10:30] = 1
NUCLEI[0, 10:30, 30:40] = 2
REGIONS = np.where(NUCLEI > 0, 2, 1).astype(np.uint8)
REGIONS[:, :5] = 0
NAMES = ("background", "other tissue", "cell")


def test_outlines_lie_on_the_rims_and_nowhere_else():
    color = (1, 2, 3)
    drawing = draw_outlines(TILE, NUCLEI, scale=4, color=color)
    assert drawing.shape == (160, 240, 3)
    lines = (drawing == color).all(axis=2)
    assert lines[40, 40:160].all()
    assert lines[60:100, 119:121].all()  # between the two
    assert not lines[50:110, 50:110].any()
    assert not lines[:40].any()
    assert (drawing[~lines] == 200).all()


def test_an_outline_stays_visible_on_a_large_tile():
    tile, labels = np.full((3, 1000, 1000), 200, np.uint8), np.zeros((1000, 1000), int)
    labels[300:700, 300:700] = 1
    lines = (draw_outlines(tile, labels, color=(1, 2, 3)) == (1, 2, 3)).all(axis=2)
    assert lines[500].sum() >= 4  # two rims, each at least 2 px of 1000
    assert not lines[:299].any()


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_figure_names_what_it_shows(wrap):
    figure = region_figure(wrap(TILE), wrap(REGIONS), NAMES, wrap(NUCLEI), mpp=0.5, title="Prior", note="Synthetic")
    assert [axes.get_title() for axes in figure.axes] == ["tile", "2 nuclei", "region map"]
    texts = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert texts == ["background 12 %", "other tissue 62 %", "cell 25 %"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["5 um"]
    assert figure.get_suptitle() == "Prior"
    assert figure.get_supxlabel() == "Synthetic"


def test_without_nuclei_or_scale_and_with_what_belongs_nowhere():
    regions = REGIONS.copy()
    regions[:, 35:] = 255
    figure = region_figure(TILE, regions, NAMES)
    assert figure.axes[1].get_title() == "regions"
    assert figure.axes[0].texts[:] == []
    assert figure.axes[2].get_legend().get_texts()[-1].get_text() == "no region 12 %"


def test_many_regions_have_no_legend():
    regions = (np.arange(2400).reshape(1, 40, 60) // 100).astype(np.uint8)
    figure = region_figure(TILE, regions, [f"superpixel {n}" for n in range(30)])
    assert figure.axes[2].get_legend() is None
    assert figure.axes[2].get_title() == "region map: 24 regions"


def test_colors_differ():
    few, many = colors_of_regions(3), colors_of_regions(60)
    assert np.array_equal(few[:3], COLORS[:3])
    assert tuple(few[255]) == NO_REGION_COLOR
    assert len(np.unique(many[:60], axis=0)) == 60


def test_bad_input():
    with pytest.raises(InputError, match="no name"):
        region_figure(TILE, REGIONS, NAMES[:2])
    with pytest.raises(InputError, match="40 x 60"):
        region_figure(TILE, REGIONS[:, :20], NAMES)
    with pytest.raises(InputError, match="uint8"):
        draw_outlines(TILE.astype(float), NUCLEI)
