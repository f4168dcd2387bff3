from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.quality import REASON_COLORS, quality_figure

THUMBNAIL = np.full((60, 80, 3), 240, np.uint8)


def test_each_tile_is_drawn_at_its_place_and_each_reason_is_in_the_legend():
    left_out = {"pen": np.array([[0, 0], [100, 0]]), "fold": np.empty((0, 2)), "blur": np.array([[300, 200]])}
    figure = quality_figure(THUMBNAIL, 5.0, 100.0, np.array([[200, 100]]), left_out, "Slide", "note")
    (axes,) = figure.axes
    kept, pen, blur = axes.collections
    assert [len(drawn.get_paths()) for drawn in (kept, pen, blur)] == [1, 2, 1]
    np.testing.assert_allclose(blur.get_paths()[0].get_extents().extents, [60, 40, 80, 60])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["used (1)", "pen (2)", "blur (1)"]
    # A reason has the same color on every slide, whatever the other reasons.
    alone = quality_figure(THUMBNAIL, 5.0, 100.0, np.empty((0, 2)), {**left_out, "pen": np.empty((0, 2))})
    np.testing.assert_allclose(alone.axes[0].collections[-1].get_facecolor(), blur.get_facecolor())
    assert len(set(REASON_COLORS)) == len(REASON_COLORS)


def test_a_thumbnail_of_another_type_is_refused():
    with pytest.raises(InputError, match="thumbnail"):
        quality_figure(THUMBNAIL / 255, 1.0, 1.0, np.empty((0, 2)), {})
