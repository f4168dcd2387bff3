"""Damaged JPEG 2000 streams are told, and none of those that encoders write."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from hmgdm_monai.data.slides.jpeg2000_check import jpeg2000_fault


@pytest.mark.parametrize("wrapped", ["jp2", "j2k"])
@pytest.mark.parametrize("level", [0, 30, 80])
@pytest.mark.parametrize("resolutions", [1, 6])
def test_what_encoders_write_is_sound_and_half_of_it_is_not(stained, wrapped, level, resolutions):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for pixels in (stained(64, 64), noise, np.full((64, 64, 3), 255, np.uint8)):
        options = {"codecformat": wrapped, "reversible": level == 0, "resolutions": resolutions}
        stream = imagecodecs.jpeg2k_encode(pixels, level=level, **options)
        assert jpeg2000_fault(stream, (64, 64)) is None
        assert jpeg2000_fault(stream + bytes(5), (64, 64)) is None
        assert "not 63 x 64" in jpeg2000_fault(stream, (63, 64))
        half = len(stream) // 2
        for damaged in (b"", stream[:40], stream[:half], stream[:half] + bytes(len(stream) - half), bytes(len(stream))):
            assert jpeg2000_fault(damaged, (64, 64))


def test_other_data_in_the_middle_are_told(stained):
    stream = imagecodecs.jpeg2k_encode(stained(256, 256), level=0, reversible=True)
    other = np.random.default_rng(1).bytes(4096)
    assert "garbled" in jpeg2000_fault(stream[:9000] + other + stream[9000 + len(other) :], (256, 256))
