"""Fixtures for all tests: real data where it is at hand, and small synthetic slides."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real slides and tiles; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("HMGDM_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HMGDM_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def stained() -> Callable[[int, int], np.ndarray]:
    """Function (width, height) -> (height, width, 3) uint8 of smooth stained texture, always the same."""
    from scipy.ndimage import gaussian_filter

    def draw(width: int, height: int) -> np.ndarray:
        noise = gaussian_filter(np.random.default_rng(7).normal(size=(height, width, 2)), (4, 4, 0))
        share = 1 / (1 + np.exp(-noise / noise.std((0, 1))))
        density = share[..., :1] * [0.56, 0.72, 0.41] * 1.5 + share[..., 1:] * [0.22, 0.80, 0.56] * 0.8
        return np.rint(240 * np.exp(-density)).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def write_tiff() -> Callable[..., Path]:
    """Function that writes a TIFF, a pyramid where it is given several levels (finest first)."""
    import tifffile

    def write(
        path: Path, levels: Sequence[np.ndarray], mpp: float | None = 0.5, tile_px: int | None = 128, **options: object
    ) -> Path:
        options = {"photometric": "rgb", **options}
        if tile_px is not None:
            options["tile"] = (tile_px, tile_px)
        with tifffile.TiffWriter(path) as writer:
            for number, pixels in enumerate(levels):
                level_mpp = None if mpp is None else mpp * levels[0].shape[1] / pixels.shape[1]
                resolution = (
                    {} if mpp is None else {"resolution": (1e4 / level_mpp,) * 2, "resolutionunit": "CENTIMETER"}
                )
                writer.write(pixels, subfiletype=int(number > 0), metadata=None, **resolution, **options)
        return path

    return write
