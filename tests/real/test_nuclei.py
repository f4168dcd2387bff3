"""On real nuclei images the default prior finds nuclei, and more of them than Otsu's cut alone, at every scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label
from skimage.filters import threshold_otsu
from skimage.io import imread

from hmgdm_monai.metrics.instance_segmentation import instance_scores
from hmgdm_monai.transforms.cell_prior import NucleusPrior
from hmgdm_monai.transforms.nuclei import SegmentNuclei, hematoxylin


@pytest.fixture(scope="module")
def images(real_data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (3, H, W) uint8 and instance labels (H, W), 0.25 um a pixel."""
    paths = sorted((real_data / "nuclei" / "images").glob("*.tif"))
    if not paths:
        pytest.skip(f"no nuclei images under {real_data}")
    return [
        (
            np.ascontiguousarray(imread(path)[..., :3].transpose(2, 0, 1)),
            imread(real_data / "nuclei" / "labels" / f"{path.stem}.png").astype(np.int32),
        )
        for path in paths
    ]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_the_default_prior_beats_otsu_at_every_scale(images, factor):
    ours, plain = [], []
    for image, labels in images:
        small = image.reshape(3, 1000 // factor, factor, 1000 // factor, factor).mean(axis=(2, 4)).round()
        small = small.astype(np.uint8)
        annotation = labels[factor // 2 :: factor, factor // 2 :: factor]
        stain = hematoxylin(small.transpose(1, 2, 0))
        otsu = instance_scores(label(stain > threshold_otsu(stain))[0], annotation)
        prior = instance_scores(SegmentNuclei()(small, 0.25 * factor)[0], annotation)
        assert prior.f1 > otsu.f1
        ours.append((prior.f1, prior.dice))
        plain.append((otsu.f1, otsu.dice))
    (f1, dice), (otsu_f1, otsu_dice) = np.mean(ours, axis=0), np.mean(plain, axis=0)
    assert f1 > otsu_f1 + 0.15
    assert dice > otsu_dice
    assert f1 > 0.5


def test_prostate_tiles_have_nuclei_tissue_and_glass(real_data: Path):
    """At 1 um a pixel, where a nucleus is 7 px wide."""
    paths = sorted((real_data / "prostate_gleason" / "labelled").glob("*/*.jp*g"))
    if not paths:
        pytest.skip(f"no prostate tiles under {real_data}")
    shares = []
    for path in paths[:: max(1, len(paths) // 12)][:12]:
        regions = NucleusPrior()(np.ascontiguousarray(imread(path)[..., :3].transpose(2, 0, 1)), mpp=1.0)
        shares.append(np.bincount(regions.ravel(), minlength=3) / regions.size)
    background, tissue, cell = np.mean(shares, axis=0)
    assert 0.05 < cell < 0.35
    assert tissue > cell
    assert background > 0.02
