"""Convert amounts of stain to colors by Beer-Lambert, with different stain, focus and camera noise for each slide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from hmgdm_monai.data.demo.noise import fractal_noise, lattice_hash
from hmgdm_monai.data.demo.patient import PatientPlan

_STAIN_STREAM = 4


@dataclass(frozen=True)
class StainOptics:
    """Stain and scanner settings of a slide.

    Attributes:
        vectors: (2, 3) unit vectors of hematoxylin and eosin in natural-log optical density of R, G, B.
        strength: (2,) factors on the amounts of the two stains.
        light: (3,) R, G, B of clear glass, 0 to 255.
        blur_um: standard deviation of the point spread function, micrometers.
        noise: standard deviation of the camera noise, gray values.
        seed: seed of the noise and of uneven staining.
    """

    vectors: NDArray[np.float64]
    strength: NDArray[np.float64]
    light: NDArray[np.float64]
    blur_um: float
    noise: float
    seed: int


def draw_optics(plan: PatientPlan) -> StainOptics:
    """Draw a slide's stain and scanner: from blue to brown-violet, from pink to salmon, from pale to dark."""
    rng = plan.rng(_STAIN_STREAM)
    bluish, pinkish = rng.uniform(size=2)
    haem = np.array([0.66, 0.68, 0.32]) * bluish + np.array([0.54, 0.76, 0.36]) * (1 - bluish)
    eosin = np.array([0.09, 0.93, 0.34]) * pinkish + np.array([0.05, 0.82, 0.54]) * (1 - pinkish)
    vectors = np.stack([haem, eosin]) + rng.normal(0, 0.012, (2, 3))
    return StainOptics(
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        strength=np.array([rng.uniform(0.8, 1.12), rng.uniform(0.75, 1.3)]),
        light=np.array([243.0, 242.0, 244.0]) + rng.uniform(-3, 4, 3),
        blur_um=float(rng.uniform(0.25, 0.5)),
        noise=float(rng.uniform(1.5, 3.0)),
        seed=int(rng.integers(2**30)),
    )


@njit(cache=True)
def _expose(
    stains: NDArray[np.float32],
    vectors: NDArray[np.float64],
    light: NDArray[np.float64],
    noise: float,
    mpp: float,
    seed: int,
) -> NDArray[np.uint8]:
    rows, columns = stains.shape[1:]
    image = np.empty((rows, columns, 3), np.uint8)
    for i in range(rows):
        for j in range(columns):
            # Sections are not equally thick everywhere; the field is smooth, so every 8th px is enough.
            if j % 8 == 0:
                thickness = 1.0 + 0.07 * fractal_noise(j * mpp / 300.0, i * mpp / 300.0, 2, seed)
            haem, eosin = thickness * stains[0, i, j], thickness * stains[1, i, j]
            shared = 0.0
            for channel in range(3):
                bits = lattice_hash(3 * j + channel, i, seed + 1)
                # The sum of two uniform numbers instead of a normal one: faster, and it looks the same.
                shake = ((bits & 0xFFFF) + (bits >> 16)) / 65535.0 - 1.0
                shared = shake if channel == 0 else 0.6 * shared + 0.4 * shake
                value = light[channel] * math.exp(-haem * vectors[0, channel] - eosin * vectors[1, channel])
                image[i, j, channel] = int(min(max(value + 2.45 * noise * shared + 0.5, 0.0), 255.0))
    return image


def expose(stains: NDArray[np.float32], optics: StainOptics, mpp: float) -> NDArray[np.uint8]:
    """Compute the image of a stained section: I = I0 exp(-(H h + E e)) per channel (Beer-Lambert).

    Args:
        stains: (2, S, S) amounts of hematoxylin and eosin.
        optics: the slide's stain and scanner settings.
        mpp: microns per px.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    sharp = [ndimage.gaussian_filter(stain, optics.blur_um / mpp, truncate=3.0) for stain in stains]
    blurred = np.stack(sharp) * optics.strength[:, None, None].astype(np.float32)
    return _expose(blurred, optics.vectors, optics.light, optics.noise, mpp, optics.seed)
