"""On real nuclei images the fast superpixels keep to true borders as well as scikit-image's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label
from skimage.io import imread

from hmgdm_monai.metrics.superpixel_quality import superpixel_quality
from hmgdm_monai.transforms.superpixels import Superpixels


@pytest.mark.parametrize("size_px", [256, 512])
def test_quality_on_nuclei_is_that_of_scikit_image(real_data: Path, size_px: int) -> None:
    images = sorted((real_data / "nuclei" / "images").glob("*"))
    if not images:
        pytest.skip(f"no nuclei images under {real_data}")
    scores: dict[str, list[list[float]]] = {"fast": [], "skimage": []}
    counts: dict[str, list[int]] = {"fast": [], "skimage": []}
    for path in images:
        image = np.ascontiguousarray(imread(path)[..., :3].transpose(2, 0, 1))
        truth = imread(next((real_data / "nuclei" / "labels").glob(f"{path.stem}*"))).astype(np.int32)
        for y, x in ((0, 0), (1000 - size_px, 1000 - size_px)):
            window = (slice(y, y + size_px), slice(x, x + size_px))
            for method in scores:
                labels = Superpixels(method=method)(image[(slice(None), *window)])[0]
                scores[method].append(list(superpixel_quality(labels, truth[window]).values()))
                counts[method].append(int(labels.max()) + 1)
                if method == "fast":
                    assert all(label(labels == k)[1] == 1 for k in range(labels.max() + 1))
    fast, reference = np.nanmean(scores["fast"], axis=0), np.nanmean(scores["skimage"], axis=0)
    assert fast[0] > reference[0] - 0.02, "boundary recall"
    assert fast[1] < reference[1] + 0.01, "under-segmentation error"
    assert fast[2] > reference[2] - 0.01, "achievable segmentation accuracy"
    assert abs(np.mean(counts["fast"]) - np.mean(counts["skimage"])) < 6
    assert min(counts["fast"]) >= 30
    assert max(counts["fast"]) <= 65
