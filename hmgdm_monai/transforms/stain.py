"""Stain normalization: make all tiles look as if stained and scanned in one laboratory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from hmgdm_monai.errors import InputError

METHODS = ("macenko",)
# Optical densities per unit of hematoxylin and eosin (columns; rows R, G, B), and the concentrations of both at the
# 99th percentile: the reference values of the authors' own code.
REFERENCE_STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]], dtype=np.float32)
REFERENCE_CONCENTRATIONS = np.array([1.9705, 1.0308], dtype=np.float32)
LIGHT = 240.0  # intensity of unabsorbed light
TRANSPARENT_OD = 0.15  # pixels with a lower optical density in any channel count as unstained
ANGLE_PERCENTILE = 1.0  # robust extremes of the angle between the stains
FEWEST_STAINED = 100  # minimum number of stained pixels for separating two stains
LEAST_ANGLE = 0.05  # minimum angle in radians between the extremes; below it there is only one color


class NormalizeStain(Transform):
    """Normalize a tile's hematoxylin and eosin to a reference (Macenko et al., ISBI 2009).

    The two stain vectors are the robust extremes of the angle in the plane of the first two principal directions of
    optical density; concentrations are scaled so that their 99th percentiles equal the reference. A tile whose two
    stains cannot be separated, because it is blank or of a single color, is returned unchanged.

    Differences from MONAI's `NormalizeHEStains`: channels first, any array type, safe on blank tiles, and independent
    of the sign of the eigenvectors. Eosin is the stain whose vector has more green; MONAI compares red to blue, which
    swaps the stains of some slides.

    Args:
        method: "macenko", or None to return tiles unchanged.

    Raises:
        InputError: the method is unknown.
    """

    def __init__(self, method: str | None = "macenko") -> None:
        if method is not None and method not in METHODS:
            raise InputError(f"stain: no method {method!r}; there are {', '.join(METHODS)} and None")
        self.method = method

    def __call__(self, image: Any) -> Any:
        """Normalize a (3, H, W) uint8 array, tensor or MetaTensor; type, shape and metadata are kept.

        Raises:
            ValueError: the tile has another shape or type.
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
        # clone() keeps the metadata of a MetaTensor, copy_() writes the pixels.
        return image.clone().copy_(torch.from_numpy(result))


class NormalizeStaind(MapTransform):
    """Dictionary version of :class:`NormalizeStain`.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        method: "macenko", or None to return tiles unchanged.
        allow_missing_keys: skip missing keys instead of raising.
    """

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
    """Estimate the stain vectors of a tile by Macenko's method.

    Args:
        density: (3, n) optical density.

    Returns:
        (3, 2) unit vectors of hematoxylin and eosin as columns, or None if two stains cannot be separated.
    """
    stained = density[:, (density > TRANSPARENT_OD).all(axis=0)]
    if stained.shape[1] < FEWEST_STAINED:
        return None
    plane = np.linalg.eigh(np.cov(stained))[1][:, :0:-1]  # (3, 2), the two directions of most variance
    # Stains only absorb, so directions must point to positive densities; this keeps angles away from the jump at pi.
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    angle = np.arctan2(plane[:, 1] @ stained, plane[:, 0] @ stained)
    extremes = np.percentile(angle, [ANGLE_PERCENTILE, 100 - ANGLE_PERCENTILE])
    if np.ptp(extremes) < LEAST_ANGLE:
        return None
    vectors = plane @ np.stack([np.cos(extremes), np.sin(extremes)])
    # Eosin absorbs more green. Red, the usual criterion, differs little in violet slides and swaps the two stains.
    return vectors if vectors[1, 0] < vectors[1, 1] else vectors[:, ::-1]


def _macenko(pixels: np.ndarray) -> np.ndarray | None:
    """Normalize (3, n) uint8; None if two stains cannot be separated."""
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
