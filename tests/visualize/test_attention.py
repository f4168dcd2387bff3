from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.attention import MOST_SHARE, draw_attention


def test_a_panel_for_each_tile_and_encoder_on_one_scale():
    images = [np.full((32, 32, 3), 200, np.uint8)] * 2
    maps = {"without": [np.eye(4)] * 2, "with": [np.ones((4, 4)) * 9] * 2}
    figure = draw_attention(images, maps, labels=["a", "b"], note="synthetic")
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == 6
    overlays = [axis.images[-1] for axis in panels if len(axis.images) == 2]
    assert {overlay.get_clim() for overlay in overlays} == {(0.0, MOST_SHARE)}
    np.testing.assert_array_equal(overlays[0].get_array(), np.eye(4))
    assert [axis.get_title() for axis in panels[:3]] == ["tile", "without", "with"]
    assert [panels[0].get_ylabel(), panels[3].get_ylabel()] == ["a", "b"]
    assert "synthetic" in figure._supxlabel.get_text()


@pytest.mark.parametrize("maps", [{"a": []}, {"a": [np.eye(2)] * 3}])
def test_as_many_maps_as_tiles(maps):
    with pytest.raises(InputError, match="2 tiles"):
        draw_attention([np.zeros((4, 4, 3), np.uint8)] * 2, maps)
    with pytest.raises(InputError, match="0 tiles"):
        draw_attention([], {})
