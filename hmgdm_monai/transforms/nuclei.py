"""MONAI transforms that detect nuclei by their hematoxylin: the default prior of the dense pretext task."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type
from monai.utils.enums import TransformBackends

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.stain import LIGHT, REFERENCE_STAINS
from hmgdm_monai.transforms.superpixels import image_as_hwc, one_key_each

COARSEST_MPP = 2.0  # at coarser scales a nucleus is at most 3 px wide

# Glass is separated from stain by the largest optical density of the three channels. Otsu's threshold is limited to
# this range, because it also exists if there is no glass or only glass. 0.1 is compressed and tinted glass, 0.22 the
# palest eosin.
GLASS_BOUNDS = (0.10, 0.22)
GLASS_SIGMA_UM = 1.0


class SegmentNuclei(Transform):
    """Detect the nuclei of an H&E tile and give each its own number.

    The steps: hematoxylin by color deconvolution (Ruifrok & Johnston, 2001), smoothed; threshold above Otsu's value
    for the tissue and above the local mean; holes filled; bridges and threads removed by opening; touching nuclei
    split by a watershed on the distance to the rim; objects that are too small or too large are dropped. These are
    HistomicsTK's steps, with a distance transform instead of its multi-scale Laplacian. Lengths are physical, based on
    the size of nuclei (4 to 25 um wide), so that one setting works from 0.25 to 1 um per pixel; they are not fitted to
    any data set.

    The stain vectors are the reference of :class:`~hmgdm_monai.transforms.stain.NormalizeStain` and are not estimated
    for each tile: an estimate from a tile with only one stain is random, and normalized tiles have exactly these
    vectors.

    Args:
        sigma_um: standard deviation of the blur of the hematoxylin in um; smooths chromatin.
        surround_um: side in um of the square whose mean a nucleus must exceed; a few nuclei wide.
        opening_um: radius of the opening in um; objects thinner than twice this are removed.
        spacing_um: minimum distance in um between the centers of two nuclei along rows and columns.
        min_area_um2: minimum area of a nucleus in um^2.
        max_area_um2: maximum area of a nucleus in um^2.
        min_contrast: minimum difference of mean hematoxylin between nuclei and other tissue, in natural units of
            optical density; tiles below it have no nuclei. Nuclei reach at least 0.4, textured stroma 0.1.

    Raises:
        ValueError: a setting is out of range.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        sigma_um: float = 0.75,
        surround_um: float = 25.0,
        opening_um: float = 1.0,
        spacing_um: float = 2.0,
        min_area_um2: float = 12.0,
        max_area_um2: float = 1000.0,
        min_contrast: float = 0.2,
    ) -> None:
        settings = {
            "sigma_um": sigma_um,
            "surround_um": surround_um,
            "opening_um": opening_um,
            "spacing_um": spacing_um,
            "min_area_um2": min_area_um2,
            "max_area_um2": max_area_um2,
            "min_contrast": min_contrast,
        }
        if bad := [name for name, value in settings.items() if not (math.isfinite(value) and value >= 0)]:
            raise ValueError(f"nuclei: {', '.join(bad)} must be a number not below 0.")
        if surround_um <= 0 or max_area_um2 <= min_area_um2:
            raise ValueError(
                f"nuclei: surround_um ({surround_um}) must be above 0 and max_area_um2 ({max_area_um2}) above "
                f"min_area_um2 ({min_area_um2})."
            )
        self._settings = {name: float(value) for name, value in settings.items()}

    def settings(self) -> dict[str, float]:
        """All arguments by name."""
        return dict(self._settings)

    def __call__(  # type: ignore[override]  # MONAI's base class has a single argument
        self, image: NdarrayOrTensor, mpp: float
    ) -> NdarrayOrTensor:
        """Detect the nuclei of one tile.

        Args:
            image: (3, H, W) uint8, array, tensor or MetaTensor.
            mpp: microns per pixel.

        Returns:
            (1, H, W) int32 in the container type of the image: 0 outside, nuclei numbered from 1, each one piece.

        Raises:
            InputError: the image is not (3, H, W) uint8, or its scale is unknown or coarser than 2 um per pixel.
        """
        labels = self.label(image_as_hwc(image), mpp)
        return convert_to_dst_type(labels[None], image, dtype=np.int32)[0]

    def label(self, image: np.ndarray, mpp: float) -> np.ndarray:
        """Nuclei (H, W) int32 of a tile (H, W, 3) uint8.

        Args:
            image: (H, W, 3) uint8.
            mpp: microns per pixel.
        """
        from scipy.ndimage import binary_opening, gaussian_filter, uniform_filter
        from skimage.filters import threshold_otsu
        from skimage.morphology import remove_small_holes

        check_mpp(mpp)
        s = self._settings
        nothing = np.zeros(image.shape[:2], np.int32)
        tissue = ~glass_mask(image, mpp)
        stain = gaussian_filter(hematoxylin(image), s["sigma_um"] / mpp, truncate=3)
        stained = stain[tissue]
        if len(stained) < s["min_area_um2"] / mpp**2 or np.ptp(stained) < s["min_contrast"]:
            return nothing
        cut = threshold_otsu(stained, nbins=256)
        surround = uniform_filter(stain, 2 * round(s["surround_um"] / mpp / 2) + 1)
        mask = (stain > cut) & (stain > surround) & tissue
        # A nucleus with pale chromatin is a ring, to be filled; a gland surrounded by nuclei is not, hence the limit.
        mask = remove_small_holes(mask, max_size=int(_HOLE_UM2 / mpp**2))
        if radius := round(s["opening_um"] / mpp):
            mask = binary_opening(mask, iterations=radius)
        inside, rest = mask & tissue, tissue & ~mask
        if not inside.any() or not rest.any() or stain[inside].mean() - stain[rest].mean() < s["min_contrast"]:
            return nothing
        return _sized(_split(mask, s["spacing_um"], mpp), s["min_area_um2"] / mpp**2, s["max_area_um2"] / mpp**2)


class SegmentNucleid(MapTransform):
    """Dictionary version of :class:`SegmentNuclei`.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        mpp: microns per pixel of the tiles, or the key of this value in the dictionary.
        nuclei_keys: output key of each label map, one for each of ``keys``.
        allow_missing_keys: skip missing keys instead of raising.
        **settings: arguments of :class:`SegmentNuclei`.
    """

    backend = SegmentNuclei.backend

    def __init__(
        self,
        keys: KeysCollection,
        mpp: float | str = "mpp",
        nuclei_keys: KeysCollection = "nuclei",
        allow_missing_keys: bool = False,
        **settings: float,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.nuclei_keys = one_key_each(self.keys, nuclei_keys, "nuclei_keys")
        self.mpp = mpp
        self.segment = SegmentNuclei(**settings)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the nuclei of each tile added."""
        d = dict(data)
        mpp = mpp_of(d, self.mpp)
        for key, nuclei_key in self.key_iterator(d, self.nuclei_keys):
            d[nuclei_key] = self.segment(d[key], mpp)
        return d


def hematoxylin(image: np.ndarray) -> np.ndarray:
    """Hematoxylin of a tile (H, W, 3) uint8 by the reference stain vectors, (H, W) float32, natural units."""
    return _stain(image, 0)


def eosin(image: np.ndarray) -> np.ndarray:
    """Eosin of a tile (H, W, 3) uint8 by the reference stain vectors, (H, W) float32, natural units."""
    return _stain(image, 1)


def glass_mask(image: np.ndarray, mpp: float) -> np.ndarray:
    """Mark unstained glass in a tile (H, W, 3) uint8, (H, W) bool: bright in all channels, smoothed over 1 um.

    Args:
        image: (H, W, 3) uint8.
        mpp: microns per pixel.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    density = gaussian_filter(_density_table()[image.min(axis=2)], GLASS_SIGMA_UM / mpp, truncate=3)
    cut = GLASS_BOUNDS[0] if np.ptp(density) == 0 else float(np.clip(threshold_otsu(density, 256), *GLASS_BOUNDS))
    return density < cut


def check_mpp(mpp: float | None) -> float:
    """Return ``mpp`` if nuclei can be detected at this scale.

    Raises:
        InputError: the scale is unknown, not above 0, or too coarse.
    """
    if mpp is None or not (math.isfinite(mpp) and 0 < mpp <= COARSEST_MPP):
        raise InputError(
            f"nuclei: the tile is at {mpp} um per pixel; give its scale, above 0 and not above {COARSEST_MPP:g}, "
            "or choose another prior"
        )
    return mpp


def mpp_of(data: Mapping[Hashable, Any], mpp: float | str) -> float:
    """Return a scale that is a number, or read it from its key.

    Args:
        data: dictionary of a tile.
        mpp: microns per pixel, or the key of this value.

    Raises:
        InputError: the key does not exist or does not hold a number.
    """
    if not isinstance(mpp, str):
        return mpp
    try:
        return float(data[mpp])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"nuclei: key {mpp!r} holds no microns per pixel; add it, or set mpp to a number") from error


_HOLE_UM2 = 50.0  # the pale center of a vesicular nucleus, 8 um wide
_RIM_SIGMA_UM = 0.5  # blur of the distance to the rim: dents of one pixel do not split a nucleus


@cache
def _density_table() -> np.ndarray:
    """Natural optical density of each byte."""
    return -np.log(np.minimum(np.arange(256, dtype=np.float32) + 1, LIGHT) / LIGHT)


def _stain(image: np.ndarray, stain: int) -> np.ndarray:
    tables = _stain_tables(stain)
    return tables[0][image[..., 0]] + tables[1][image[..., 1]] + tables[2][image[..., 2]]


@cache
def _stain_tables(stain: int) -> np.ndarray:
    """Contribution of each channel's byte to hematoxylin (0) or eosin (1), (3, 256)."""
    return np.linalg.pinv(REFERENCE_STAINS)[stain].astype(np.float32)[:, None] * _density_table()


def _split(mask: np.ndarray, spacing_um: float, mpp: float) -> np.ndarray:
    """Split each piece of a mask along the valleys between the peaks of its distance to the rim."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
    from skimage.segmentation import watershed

    depth = gaussian_filter(distance_transform_edt(mask).astype(np.float32), _RIM_SIGMA_UM / mpp, truncate=3)
    reach = 2 * max(1, round(spacing_um / mpp)) + 1
    # Adjacent peaks of equal height are one peak, so that the split does not depend on the tile's orientation.
    peaks = (depth >= maximum_filter(depth, reach)) & mask
    markers = label(peaks, np.ones((3, 3)))[0]
    return watershed(-depth, markers, mask=mask)


def _sized(labels: np.ndarray, least_px: float, most_px: float) -> np.ndarray:
    """Keep the labels whose areas are within bounds, and number them from 1."""
    area = np.bincount(labels.ravel())
    kept = (area >= least_px) & (area <= most_px)
    kept[0] = False
    numbers = np.zeros(len(area), np.int32)
    numbers[kept] = np.arange(1, kept.sum() + 1)
    return numbers[labels]
