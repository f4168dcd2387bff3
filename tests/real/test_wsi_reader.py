"""A real slide through MONAI's transforms and datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.data import PatchWSIDataset
from monai.transforms import LoadImaged

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.slides.wsi_reader import TaggedWSIReader


@pytest.fixture
def slide(real_data: Path) -> Path:
    path = real_data / "slides/CMU-1-Small-Region.svs"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def test_monai_reads_a_real_slide_by_level_mpp_and_power(slide: Path) -> None:
    samples = [{"image": slide, "location": [400, 500], "label": 0}]
    patch = PatchWSIDataset(samples, patch_size=(200, 300), reader=TaggedWSIReader, center_location=False)[0]["image"]
    expected = open_slide(slide).read_region(500, 400, 300, 200)
    assert np.array_equal(patch.numpy(), expected.transpose(2, 0, 1))
    reader = TaggedWSIReader(power=20)
    assert reader.get_data(reader.read(slide), location=(0, 0), size=(8, 8))[1]["level"] == 0
    image = LoadImaged("image", reader=TaggedWSIReader, mpp=2.0)({"image": slide})["image"]
    thumbnail, downsample = open_slide(slide).thumbnail(740)
    assert downsample == pytest.approx(2.0 / 0.499, rel=0.01)
    assert tuple(image.shape[1:]) == (740, 554)
    assert abs(float(image.mean()) - thumbnail.mean()) < 1
