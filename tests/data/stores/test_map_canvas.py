from __future__ import annotations

import os

import numpy as np
import pytest

from hmgdm_monai.data.stores.map_canvas import MapCanvas


def painted_slowly(tiles, quantities, size, pixel_px):
    """The same map, pixel by pixel in float64."""
    width, height = size
    out = np.full((quantities, height, width), np.nan)
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) * pixel_px, (row + 0.5) * pixel_px
            found = []
            for labels, values, (x0, y0), side in tiles:
                i, j = int(np.floor((y - y0) / side)), int(np.floor((x - x0) / side))
                if 0 <= i < labels.shape[0] and 0 <= j < labels.shape[1] and labels[i, j] >= 0:
                    value = values[:, labels[i, j]]
                    found += [value] if np.isfinite(value).all() else []
            if found:
                out[:, row, column] = np.mean(found, 0)
    return out


@pytest.mark.parametrize(("pixel_px", "side"), [(8.0, 2.0), (7.3, 1.9), (1.0, 2.0)])
def test_pixels_are_the_mean_of_the_tiles_over_them(tmp_path, pixel_px, side):
    rng = np.random.default_rng(0)
    tiles = []
    for origin in ((0, 0), (16, 0), (5, 19), (-9, -4), (70, 50)):  # overlapping, apart, beyond the borders
        labels = rng.integers(-1, 4, (16, 16))
        values = rng.normal(size=(2, 4))
        values[1, 3] = np.nan if origin == (16, 0) else values[1, 3]
        tiles.append((labels, values, origin, side))
    with MapCanvas(2, (90, 60), pixel_px, tmp_path) as canvas:
        for tile in tiles:
            canvas.paint(*tile)
        height = canvas.size_px[1]
        found = np.concatenate([canvas.rows(top, min(height, top + 5)) for top in range(0, height, 5)], 1)
    np.testing.assert_allclose(found, painted_slowly(tiles, 2, canvas.size_px, pixel_px), atol=1e-5)
    assert os.listdir(tmp_path) == []  # the room on the disk is given back


def test_the_map_covers_the_slide(tmp_path):
    with MapCanvas(1, (100, 41), 8.0, tmp_path) as canvas:
        assert canvas.size_px == (13, 6)
        assert np.isnan(canvas.rows(0, 6)).all()
