from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.data.stores import slide_map
from hmgdm_monai.data.stores.map_canvas import MapCanvas
from hmgdm_monai.data.stores.slide_map import map_key, opened_slide_map, shrunk, write_slide_map
from hmgdm_monai.errors import InputError


@pytest.fixture
def values() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(2, 37, 50)).astype(np.float32)
    values[:, 10:20, 5:30] = np.nan
    return values


@pytest.fixture
def path(values, tmp_path, monkeypatch):
    monkeypatch.setattr(slide_map, "CHUNK_PX", 16)
    with MapCanvas(2, (50, 37), 1.0, tmp_path) as canvas:
        canvas.paint(np.arange(37 * 50).reshape(37, 50), values.reshape(2, -1), (0, 0), 1.0)
        write_slide_map(tmp_path / "m.h5", canvas, ["a/b", "c"], 0.5, {"c": (0.0, 2.0)}, {"x": np.eye(3)}, "key")
    return tmp_path / "m.h5"


def test_a_map_is_read_as_it_was_painted(path, values):
    with opened_slide_map(path) as found:
        assert (found.names, found.mpp, found.pixel_px) == (("a/b", "c"), 0.5, 1.0)
        assert found.spans == {"c": (0.0, 2.0)}
        np.testing.assert_array_equal(found.arrays["x"], np.eye(3))
        np.testing.assert_array_equal(found.plane("c"), values[1])
        np.testing.assert_allclose(found.plane("c", 5), shrunk(values[1], 5), rtol=1e-5)
        np.testing.assert_allclose(found.block(30, 40, 16, 4)[0], shrunk(values[0, 30:, 40:], 4), rtol=1e-5)
    assert map_key(path) == "key" and map_key(path.with_name("none.h5")) is None


def test_blocks_are_averaged_without_what_is_missing(values):
    small = shrunk(values[0], 8)
    assert small.shape == (5, 7)
    for row in range(5):
        for column in range(7):
            block = values[0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            expected = np.nan if np.isnan(block).all() else np.nanmean(block.astype(np.float64))
            np.testing.assert_allclose(small[row, column], expected, rtol=1e-4, atol=1e-6)


def test_another_file_is_one_line(tmp_path):
    (tmp_path / "m.h5").write_text("no")
    for name in ("m.h5", "none.h5"):
        with pytest.raises(InputError, match=name), opened_slide_map(tmp_path / name):
            pass
