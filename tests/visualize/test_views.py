from __future__ import annotations

import numpy as np
import torch

from hmgdm_monai.transforms.paired_views import View
from hmgdm_monai.visualize.regions import colors_of_regions
from hmgdm_monai.visualize.views import draw_views


def test_tiles_regions_and_both_views_in_a_row():
    images = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    regions = torch.arange(3, dtype=torch.uint8).repeat(2, 1, 16, 6)[..., :16].contiguous()
    regions[0, 0, 0, 0] = 255
    view = View(torch.rand(2, 3, 8, 8), regions[..., ::2, ::2])
    figure = draw_views(images, regions, (view, view), ("a", "b", "c"), "synthetic")
    panels = figure.axes
    assert len(panels) == 12
    np.testing.assert_array_equal(panels[0].images[0].get_array(), images[0].permute(1, 2, 0))
    table = colors_of_regions(3)
    np.testing.assert_array_equal(panels[1].images[0].get_array(), table[regions[0, 0].numpy()])
    np.testing.assert_array_equal(panels[3].images[0].get_array(), table[view.regions[0, 0].numpy()])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    many = draw_views(images, regions, (view, view), [str(i) for i in range(80)])
    assert not many.legends
