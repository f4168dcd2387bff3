"""Stain normalization: every tile as if stained and scanned in one laboratory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from hmgdm_monai.errors import InputError

# Optical densities per unit of hematoxylin and eosin (columns; rows R, G, B), and the concentrations of both that 99 %
# of pixels stay below: the reference of the authors' own code.
REFERENCE_STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]], dtype=np.float32)
REFERENCE_CONCENTRATIONS = np.array([1.9705, 1.0308], dtype=np.float32)
LIGHT = 240.0  # intensity of unhindered light
TRANSPARENT_OD = 0.15  # pixels of less optical density in any channel carry no stain
ANGLE_PERCENTILE = 1.0  # robust extremes of the angle between the stains
FEWEST_STAINED = 100  # pixels below which two stains cannot be told apart
LEAST_ANGLE = 0.05  # radians between the extremes below which there is one color only


class NormalizeStain(Transform):
    """Bring a tile's hematoxylin and eosin to a reference (Macenko et al., ISBI 2009).

    The two stain vectors are the robust extremes of the angle in the plane of the first two principal directions of
    optical density; concentrations are scaled so that their 99th percentiles meet the reference. A tile from which two
    stains cannot be told, blank or of a single color, is returned unchanged.

    Departs from MONAI's `NormalizeHEStains`: channel first, any array type, safe on blank tiles, stain vectors freed
    from the sign that an eigenvector leaves open, and eosin taken to be the one whose direction holds more green, where
    MONAI's compares red to blue and swaps the stains of some slides.

    Args:
        method: "macenko", or None to return tiles as they are.

    Raises:
        InputError: another method.
    """

    def __init__(self, method: str | None = "macenko") -> None:
        if method not in ("macenko", None):
            raise InputError(f"stain: no method {method!r}; there are 'macenko' and None")
        self.method = method

    def __call__(self, image: Any) -> Any:
        """(3, H, W) uint8 numpy array, tensor or MetaTensor -> the same type, shape and meta data.

        Raises:
            ValueError: another shape or type.
        """
        if self.method is None:
            return image
        is_tensor = isinstance(image, torch.Tensor)
        pixels = np.asarray(image.detach().cpu() if is_tensor else image)
        if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"image must be (3, H, W) uint8, not {pixels.shape} {pixels.dtype}")
        result = _macenko(pixels.reshape(3, -1))
        if result is None:
            return image
        result = result.reshape(pixels.shape)
        if not is_tensor:
            return result
        # clone() keeps a MetaTensor's meta data, copy_() fills in the pixels.
        return image.clone().copy_(torch.from_numpy(result))


class NormalizeStaind(MapTransform):
    """Dictionary wrapper of :class:`NormalizeStain`."""

    def __init__(self, keys: KeysCollection, method: str | None = "macenko", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalize = NormalizeStain(method)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalize the image under each key."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.normalize(result[key])
        return result


def stain_vectors(density: np.ndarray) -> np.ndarray | None:
    """Stain vectors of a tile by Macenko.

    Args:
        density: (3, n) optical density.

    Returns:
        (3, 2) unit vectors of hematoxylin and eosin as columns, or None where two stains cannot be told apart.
    """
    stained = density[:, (density > TRANSPARENT_OD).all(axis=0)]
    if stained.shape[1] < FEWEST_STAINED:
        return None
    plane = np.linalg.eigh(np.cov(stained))[1][:, :0:-1]  # (3, 2), the two directions of most variance
    # Stains only absorb, so the directions point to positive densities; that keeps the angles away from the jump at pi.
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    angle = np.arctan2(plane[:, 1] @ stained, plane[:, 0] @ stained)
    extremes = np.percentile(angle, [ANGLE_PERCENTILE, 100 - ANGLE_PERCENTILE])
    if np.ptp(extremes) < LEAST_ANGLE:
        return None
    vectors = plane @ np.stack([np.cos(extremes), np.sin(extremes)])
    # Eosin is the greener absorber. Red, the usual criterion, lies close together in violet slides and swaps the two.
    return vectors if vectors[1, 0] < vectors[1, 1] else vectors[:, ::-1]


def _macenko(pixels: np.ndarray) -> np.ndarray | None:
    """(3, n) uint8 -> the same, normalized; None where two stains cannot be told apart."""
    density = -np.log(np.minimum(pixels.astype(np.float32) + 1.0, LIGHT) / LIGHT)
    vectors = stain_vectors(density)
    if vectors is None:
        return None
    concentrations = np.linalg.pinv(vectors).astype(np.float32) @ density
    strongest = np.percentile(concentrations, 99, axis=1)
    if (strongest <= 0).any():
        return None
    concentrations *= (REFERENCE_CONCENTRATIONS / strongest)[:, None]
    light = LIGHT * np.exp(-(REFERENCE_STAINS @ concentrations))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
