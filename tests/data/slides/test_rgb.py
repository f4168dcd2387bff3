"""Decoded pixels of any kind as RGB over white."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.data.slides.rgb import to_rgb8


@settings(max_examples=60, deadline=None)
@given(value=st.integers(0, 255), alpha=st.integers(0, 255))
def test_alpha_is_composited_over_white(value, alpha):
    straight = to_rgb8(np.array([[[value, value, value, alpha]]], np.uint8), alpha="straight")
    assert abs(int(straight[0, 0, 0]) - (value * alpha + 255 * (255 - alpha)) / 255) <= 0.51
    inked = value * alpha // 255
    premultiplied = to_rgb8(np.array([[[inked, inked, inked, alpha]]], np.uint8), alpha="premultiplied")
    assert abs(int(premultiplied[0, 0, 0]) - (inked + 255 - alpha)) <= 0.51
    assert to_rgb8(np.array([[[value, value, value, alpha]]], np.uint8))[0, 0, 0] == value
